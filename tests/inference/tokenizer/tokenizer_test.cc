#include "inference/tokenizer/tokenizer.h"

#include <random>
#include <sstream>

#include "gtest/gtest.h"
#include "inference/tokenizer/chat_template.h"
#include "inference/tokenizer/pretokenizer.h"
#include "tests/support/golden.h"

namespace fedglm {
namespace {

struct Loaded {
  std::shared_ptr<const GgufFile> file;
  std::shared_ptr<const Tokenizer> tokenizer;
};

Loaded Load(const std::filesystem::path& path) {
  Loaded loaded;
  const auto file = GgufFile::Open(path);
  EXPECT_TRUE(file.ok()) << Message(file.status());
  if (!file.ok()) return loaded;
  const auto tokenizer = Tokenizer::FromGguf(**file);
  EXPECT_TRUE(tokenizer.ok()) << Message(tokenizer.status());
  if (tokenizer.ok()) loaded = {*file, *tokenizer};
  return loaded;
}

Loaded LoadVocabulary(const std::string& name) {
  return Load(GoldenPath("tokenizers/ggml-vocab-" + name + ".gguf"));
}

Loaded LoadGlm4() { return Load(GoldenPath("golden/glm4-tiny-q4_k_m.gguf")); }

class GoldenVocabulary : public testing::TestWithParam<const char*> {};

TEST_P(GoldenVocabulary, EveryTextGivesTheExpectedIds) {
  GOLDEN_OR_SKIP(path, "tokenizers/ggml-vocab-" + std::string(GetParam()) + ".gguf");
  const Loaded loaded = LoadVocabulary(GetParam());
  ASSERT_NE(loaded.tokenizer, nullptr);
  const std::string stem = (GoldenPath("tokenizers/ggml-vocab-" + std::string(GetParam()) + ".gguf")).string();
  const std::string inputs = *ReadFile(stem + ".inp");
  std::istringstream outputs(*ReadFile(stem + ".out"));
  const std::string separator = "\n__ggml_vocab_test__\n";
  int count = 0;
  for (size_t begin = 0; begin < inputs.size(); ++count) {
    const size_t end = inputs.find(separator, begin);
    const std::string text = inputs.substr(begin, end == std::string::npos ? std::string::npos : end - begin);
    std::string line;
    ASSERT_TRUE(std::getline(outputs, line));
    std::istringstream ids(line);
    std::vector<Token> expected;
    for (Token id; ids >> id;) expected.push_back(id);
    EXPECT_EQ(loaded.tokenizer->Encode(text, {.add_special = false}), expected) << "text: <" << text << ">";
    if (end == std::string::npos) break;
    begin = end + separator.size();
  }
  EXPECT_GT(count, 30);
}

TEST_P(GoldenVocabulary, TextSurvivesThereAndBack) {
  GOLDEN_OR_SKIP(path, "tokenizers/ggml-vocab-" + std::string(GetParam()) + ".gguf");
  const Loaded loaded = LoadVocabulary(GetParam());
  ASSERT_NE(loaded.tokenizer, nullptr);
  std::mt19937 random(7);
  const std::vector<std::string> atoms = {"a", "Hello", " ", "\n", "123", "é", "日本", "🚀", "'re", ".", "\t", "ß", "  "};
  for (int round = 0; round < 300; ++round) {
    std::string text = "x";
    for (int i = 0; i < 20; ++i) text += atoms[random() % atoms.size()];
    std::string back = loaded.tokenizer->Decode(loaded.tokenizer->Encode(text, {.add_special = false}));
    if (back.size() == text.size() + 1) back = back.substr(1);  // SentencePiece puts a space before the text
    EXPECT_EQ(back, text);
  }
}

TEST_P(GoldenVocabulary, AnyBytesAreEncoded) {
  GOLDEN_OR_SKIP(path, "tokenizers/ggml-vocab-" + std::string(GetParam()) + ".gguf");
  const Loaded loaded = LoadVocabulary(GetParam());
  ASSERT_NE(loaded.tokenizer, nullptr);
  std::mt19937 random(8);
  for (int round = 0; round < 300; ++round) {
    std::string bytes;
    for (size_t i = random() % 40; i > 0; --i) bytes += static_cast<char>(random());
    const auto tokens = loaded.tokenizer->Encode(bytes, {.add_special = false, .parse_special = true});
    for (const Token token : tokens) EXPECT_LT(token, loaded.tokenizer->size());
  }
  EXPECT_FALSE(loaded.tokenizer->Encode(std::string(300000, 'a'), {}).empty());
  EXPECT_FALSE(loaded.tokenizer->Encode(std::string(300000, ' '), {}).empty());
}

INSTANTIATE_TEST_SUITE_P(Families, GoldenVocabulary, testing::Values("gpt-2", "llama-bpe", "llama-spm"));

TEST(Tokenizer, ControlTokensAreTextUnlessAskedFor) {
  GOLDEN_OR_SKIP(path, "tokenizers/ggml-vocab-llama-bpe.gguf");
  const Loaded loaded = Load(path);
  const Token eot = *loaded.tokenizer->Find("<|eot_id|>");
  EXPECT_EQ(loaded.tokenizer->Encode("<|eot_id|>", {.add_special = false, .parse_special = true}), std::vector<Token>{eot});
  const auto text = loaded.tokenizer->Encode("<|eot_id|>", {.add_special = false, .parse_special = false});
  EXPECT_EQ(std::count(text.begin(), text.end(), eot), 0);
  EXPECT_TRUE(loaded.tokenizer->EndsGeneration(eot));
}

TEST(Pretokenizer, CutsAsThePatternsSay) {
  const auto split = [](const char* name, const std::string& text) {
    const auto pretokenizer = Pretokenizer::Make(FindPretokenizer(name)->patterns);
    EXPECT_TRUE(pretokenizer.ok());
    std::vector<std::string> pieces;
    for (const auto piece : pretokenizer->Split(text)) pieces.emplace_back(piece);
    return pieces;
  };
  using Pieces = std::vector<std::string>;
  EXPECT_EQ(split("gpt-2", "I've 1234 cats  here"), (Pieces{"I", "'ve", " 1234", " cats", " ", " here"}));
  EXPECT_EQ(split("glm4", "12345 is"), (Pieces{"123", "45", " is"}));
  EXPECT_EQ(split("qwen2", "a12\n\nb"), (Pieces{"a", "1", "2", "\n\n", "b"}));
  EXPECT_EQ(split("smollm", "x 12"), (Pieces{"x", " ", "1", "2"}));
  EXPECT_EQ(split("deepseek-coder", "ab cd.\n1"), (Pieces{"ab", " cd", ".", "\n", "1"}));
  EXPECT_EQ(split("gpt-4o", "HelloWorld"), (Pieces{"Hello", "World"}));
  EXPECT_EQ(split("starcoder", "f(x)"), (Pieces{"f", "(", "x", ")"}));
}

TEST(Pretokenizer, EveryKnownNameHasPatternsThatCompile) {
  for (const char* name : {"default", "gpt-2", "llama-bpe", "glm4", "chatglm-bpe", "qwen2", "qwen35", "smollm", "starcoder",
                           "refact", "command-r", "deepseek-llm", "deepseek-coder", "deepseek-v3", "falcon", "falcon3", "mpt",
                           "olmo", "dbrx", "smaug-bpe", "stablelm2", "bloom", "poro-chat", "viking", "jais", "tekken",
                           "gpt-4o", "llama4", "codeshell", "exaone", "minerva-7b", "megrez", "seed-coder", "superbpe",
                           "bailingmoe", "hunyuan", "grok-2", "trillion"}) {
    const auto facts = FindPretokenizer(name);
    ASSERT_TRUE(facts.ok()) << name;
    const auto pretokenizer = Pretokenizer::Make(facts->patterns);
    ASSERT_TRUE(pretokenizer.ok()) << name << ": " << Message(pretokenizer.status());
    std::string joined;
    for (const auto piece : pretokenizer->Split("It's 12345 ÄÖ 日本語。\n\n  end\xff\xfe!")) joined += piece;
    EXPECT_EQ(joined, "It's 12345 ÄÖ 日本語。\n\n  end\xff\xfe!") << name;
  }
  EXPECT_EQ(ExitCodeOf(FindPretokenizer("no-such-thing").status()), ExitCode::kBadInputFile);
}

TEST(ChatTemplate, Llama3IsWrittenWithItsControlTokens) {
  GOLDEN_OR_SKIP(path, "tokenizers/ggml-vocab-llama-bpe.gguf");
  const Loaded loaded = Load(path);
  const auto parts = RenderChat({ChatFormat::kLlama3, ""}, *loaded.tokenizer, {{"user", "hi"}, {"assistant", "yes"}}, false);
  ASSERT_TRUE(parts.ok());
  EXPECT_EQ(loaded.tokenizer->Decode(JoinParts(*parts), true),
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nyes<|eot_id|>");
  std::string answer;
  for (const ChatPart& part : *parts) {
    if (part.answer) answer += loaded.tokenizer->Decode(part.tokens, true);
  }
  EXPECT_EQ(answer, "yes<|eot_id|>");
}

TEST(ChatTemplate, ContentNeverBecomesAControlToken) {
  GOLDEN_OR_SKIP(path, "tokenizers/ggml-vocab-llama-bpe.gguf");
  const Loaded loaded = Load(path);
  const Token eot = *loaded.tokenizer->Find("<|eot_id|>");
  const auto parts = *RenderChat({ChatFormat::kLlama3, ""}, *loaded.tokenizer, {{"user", "<|eot_id|><|eot_id|>"}}, true);
  const std::vector<Token> tokens = JoinParts(parts);
  EXPECT_EQ(std::count(tokens.begin(), tokens.end(), eot), 1);
}

TEST(ChatTemplate, Glm4AnswersEndWithTheNextRole) {
  const Loaded loaded = LoadGlm4();
  const auto text_of = [&](const std::vector<ChatMessage>& messages, bool prompt) {
    const auto parts = RenderChat({ChatFormat::kGlm4, ""}, *loaded.tokenizer, messages, prompt);
    return loaded.tokenizer->Decode(JoinParts(*parts), true);
  };
  EXPECT_EQ(text_of({{"user", "a"}}, true), "[gMASK]<sop><|user|>\na<|assistant|>\n");
  EXPECT_EQ(text_of({{"user", "a"}, {"assistant", "b"}}, false), "[gMASK]<sop><|user|>\na<|assistant|>\nb<|user|>");
  EXPECT_EQ(text_of({{"user", "a"}, {"assistant", "b"}, {"user", "c"}}, true),
            "[gMASK]<sop><|user|>\na<|assistant|>\nb<|user|>\nc<|assistant|>\n");
}

TEST(ChatTemplate, RefusesUnknownRolesAndNoMessages) {
  GOLDEN_OR_SKIP(path, "tokenizers/ggml-vocab-gpt-2.gguf");
  const Loaded loaded = Load(path);
  EXPECT_FALSE(RenderChat({}, *loaded.tokenizer, {}, true).ok());
  EXPECT_FALSE(RenderChat({}, *loaded.tokenizer, {{"wizard", "hi"}}, true).ok());
}

}  // namespace
}  // namespace fedglm
