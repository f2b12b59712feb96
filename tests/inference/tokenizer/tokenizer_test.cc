#include "inference/tokenizer/tokenizer.h"

#include <random>

#include "gtest/gtest.h"
#include "tests/inference/tokenizer/vocabulary_builder.h"
#include "tests/inference/tokenizer/vocabulary_pairs.h"
#include "tests/support/golden.h"
#include "tests/support/thread_seconds.h"

namespace fedglm {
namespace {

using Pieces = std::vector<std::string>;

std::shared_ptr<const Tokenizer> Load(const std::filesystem::path& path) {
  const auto file = GgufFile::Open(path);
  EXPECT_TRUE(file.ok()) << Message(file.status());
  if (!file.ok()) return nullptr;
  const auto tokenizer = Tokenizer::FromGguf(**file);
  EXPECT_TRUE(tokenizer.ok()) << Message(tokenizer.status());
  return tokenizer.ok() ? *tokenizer : nullptr;
}

class GoldenVocabulary : public testing::TestWithParam<const char*> {
 protected:
  static std::string Name() { return "tokenizers/ggml-vocab-" + std::string(GetParam()) + ".gguf"; }
};

TEST_P(GoldenVocabulary, EveryTextGivesTheExpectedIdsAndComesBack) {
  GOLDEN_OR_SKIP(path, Name());
  const auto tokenizer = Load(path);
  ASSERT_NE(tokenizer, nullptr);
  const VocabularyPairs pairs = ReadVocabularyPairs(path);
  EXPECT_GT(pairs.size(), 30u);
  for (const auto& [text, expected] : pairs) {
    EXPECT_EQ(tokenizer->Encode(text, {.add_special = false}), expected) << "text: <" << text << ">";
    EXPECT_EQ(tokenizer->Decode(expected), text);
  }
}

TEST_P(GoldenVocabulary, TextSurvivesThereAndBack) {
  GOLDEN_OR_SKIP(path, Name());
  const auto tokenizer = Load(path);
  ASSERT_NE(tokenizer, nullptr);
  std::mt19937 random(7);
  const Pieces atoms = {"a", "Hello", " ", "\n", "123", "é", "日本", "🚀", "'re", ".", "\t", "ß", "  "};
  for (int round = 0; round < 300; ++round) {
    std::string text;
    for (int i = 0; i < 20; ++i) text += atoms[random() % atoms.size()];
    EXPECT_EQ(tokenizer->Decode(tokenizer->Encode(text, {.add_special = false})), text);
    EXPECT_EQ(tokenizer->Decode(tokenizer->Encode(text, {.add_special = true})), text);
  }
}

TEST_P(GoldenVocabulary, AnyBytesAreEncodedAndNoneIsLost) {
  GOLDEN_OR_SKIP(path, Name());
  const auto tokenizer = Load(path);
  ASSERT_NE(tokenizer, nullptr);
  std::mt19937 random(8);
  for (int round = 0; round < 300; ++round) {
    std::string bytes;
    for (size_t i = random() % 40; i > 0; --i) bytes += static_cast<char>(random());
    const auto tokens = tokenizer->Encode(bytes, {.add_special = false, .parse_special = true});
    for (const Token token : tokens) EXPECT_LT(token, tokenizer->size());
    EXPECT_EQ(tokenizer->Decode(tokens), bytes);
  }
}

// A megabyte that is one pre-token. O(n log n) takes under a second; a quadratic walk would take minutes.
TEST_P(GoldenVocabulary, AMegabyteOfOneWordTakesNoQuadraticTime) {
  GOLDEN_OR_SKIP(path, Name());
  const auto tokenizer = Load(path);
  ASSERT_NE(tokenizer, nullptr);
  std::string letters;
  std::mt19937 random(9);
  for (int i = 0; i < 1 << 20; ++i) letters += static_cast<char>('a' + random() % 26);
  const Pieces texts = {std::string(1 << 20, 'a'), std::string(1 << 20, ' '),    std::string(1 << 20, '\n'),
                        std::string(1 << 20, '<'), std::string(1 << 20, '\xff'), letters};
  for (const std::string& text : texts) {
    const double begin = ThreadSeconds();
    const auto tokens = tokenizer->Encode(text, {.add_special = false, .parse_special = true});
    const double seconds = ThreadSeconds() - begin;
    EXPECT_EQ(tokenizer->Decode(tokens), text);
    EXPECT_LT(seconds, 60) << "a megabyte of " << static_cast<int>(text[0]);
    RecordProperty("seconds_" + std::to_string(static_cast<int>(text[0])), std::to_string(seconds));
  }
}

INSTANTIATE_TEST_SUITE_P(Families, GoldenVocabulary, testing::Values("gpt-2", "llama-bpe", "llama-spm"));

TEST(Tokenizer, MergesApplyInTheOrderOfTheirRanks) {
  const auto tokenizer = *ByteVocabulary{.merges = {"b c", "a b", "ab c"}}.Builder().Build();
  EXPECT_EQ(PiecesOf(*tokenizer, "abc"), (Pieces{"a", "bc"}));
  EXPECT_EQ(PiecesOf(*tokenizer, "ab"), (Pieces{"ab"}));
}

TEST(Tokenizer, OnlySomeFamiliesTakeAKnownPreTokenWhole) {
  // "ab" cannot be reached by merges here: "b c" comes first.
  const auto build = [](const char* pre) {
    ByteVocabulary vocabulary = {.pre = pre, .merges = {"b c", "a b", "ab c"}};
    return *vocabulary.Builder().Build();
  };
  for (const char* pre : {"llama-bpe", "glm4", "tekken"}) EXPECT_EQ(PiecesOf(*build(pre), "abc"), Pieces{"abc"}) << pre;
  for (const char* pre : {"gpt-2", "qwen2", "smaug-bpe"}) {
    EXPECT_EQ(PiecesOf(*build(pre), "abc"), (Pieces{"a", "bc"})) << pre;
  }
}

TEST(Tokenizer, BosAndEosAreAddedAsTheFileOrTheFamilySays) {
  const auto tokens = [](const char* pre, int add_bos, int add_eos) {
    VocabularyBuilder builder = ByteVocabulary{.pre = pre, .controls = {"<bos>", "<eos>"}}.Builder();
    builder.Uint32("tokenizer.ggml.bos_token_id", 256).Uint32("tokenizer.ggml.eos_token_id", 257);
    if (add_bos >= 0) builder.Bool("tokenizer.ggml.add_bos_token", add_bos == 1);
    if (add_eos >= 0) builder.Bool("tokenizer.ggml.add_eos_token", add_eos == 1);
    return (*builder.Build())->Encode("", {});
  };
  EXPECT_EQ(tokens("gpt-2", -1, -1), std::vector<Token>{});
  EXPECT_EQ(tokens("gpt-2", 1, 1), (std::vector<Token>{256, 257}));
  EXPECT_EQ(tokens("llama-bpe", -1, -1), std::vector<Token>{256});
  EXPECT_EQ(tokens("llama-bpe", 0, 1), std::vector<Token>{257});
}

TEST(Tokenizer, ControlTokensAreTextUnlessAskedFor) {
  const auto tokenizer = *ByteVocabulary{.controls = {"<|eot_id|>"}}.Builder().Build();
  EXPECT_EQ(tokenizer->Encode("<|eot_id|>", {.parse_special = true}), std::vector<Token>{256});
  EXPECT_EQ(tokenizer->Encode("<|eot_id|>", {.parse_special = false}).size(), 10u);
  EXPECT_TRUE(tokenizer->EndsGeneration(256));
  EXPECT_EQ(tokenizer->Piece(256), "");
  EXPECT_EQ(tokenizer->Piece(256, true), "<|eot_id|>");
}

TEST(Tokenizer, UserDefinedTokensAreAlwaysCutOutLongestFirst) {
  const auto tokenizer = *ByteVocabulary{.user_defined = {"  ", "    ", "ö", "[tool]"}}.Builder().Build();
  EXPECT_EQ(PiecesOf(*tokenizer, "a      ö"), (Pieces{"a", "    ", "  ", "ö"}));
  EXPECT_EQ(PiecesOf(*tokenizer, "[tool]").size(), 1u);
  // In text that others wrote, those that look like markup are text, and spaces and letters are still tokens.
  const EncodeOptions content = {.add_special = false, .user_defined = false};
  EXPECT_EQ(PiecesOf(*tokenizer, "[tool]", content).size(), 6u);
  EXPECT_EQ(PiecesOf(*tokenizer, "a    ö", content), (Pieces{"a", "    ", "ö"}));
}

// GLM-4.1V's vocabulary, and Open-AutoGLM's: the end of an answer ends the turn, as its generation_config.json says.
TEST(Tokenizer, Glm4sAnswersEndWithTheirTag) {
  const std::vector<std::string> tags = {"<think>", "</think>", "<answer>", "</answer>"};
  const auto glm = *ByteVocabulary{.controls = {"<|observation|>"}, .user_defined = tags}.Builder().Build();
  EXPECT_TRUE(glm->EndsGeneration(*glm->Find("</answer>")));
  for (const char* tag : {"<think>", "</think>", "<answer>"}) EXPECT_FALSE(glm->EndsGeneration(*glm->Find(tag))) << tag;
  // Elsewhere it is a tag like any other.
  const auto other = *ByteVocabulary{.controls = {"<|im_end|>"}, .user_defined = tags}.Builder().Build();
  EXPECT_FALSE(other->EndsGeneration(*other->Find("</answer>")));
}

TEST(Tokenizer, MarkersThatEndATurnAreControlTokensWhateverTheirType) {
  const auto tokenizer =
      *ByteVocabulary{.user_defined = {"<|im_end|>", "<fim_prefix>", "<|channel|>"}}.Builder().Build();
  EXPECT_TRUE(tokenizer->IsControl(256));
  EXPECT_TRUE(tokenizer->EndsGeneration(256));
  EXPECT_TRUE(tokenizer->IsControl(257));
  EXPECT_FALSE(tokenizer->EndsGeneration(257));
  EXPECT_FALSE(tokenizer->IsControl(258));
  // An ordinary </s> is HTML, as in Qwen2's vocabulary.
  const auto html = *ByteVocabulary{.merges = {"< /", "</ s", "</s >"}}.Builder().Build();
  EXPECT_EQ(PiecesOf(*html, "</s>").size(), 3u);  // "</", then "s" and ">": gpt-2's pattern cuts before letters
  EXPECT_FALSE(html->IsControl(*html->Find("</s>")));
  EXPECT_EQ(html->Piece(*html->Find("</s>")), "</s>");
}

TEST(Tokenizer, Phi3SwallowsTheSpaceAfterItsMarkers) {
  VocabularyBuilder builder = SentencePieceVocabulary({"▁", "h", "i", "▁h"}, {"<|user|>"});
  const auto tokenizer = *builder.String("general.name", "Phi-3 mini").Build();
  EXPECT_EQ(PiecesOf(*tokenizer, "<|user|> \n hi"), (Pieces{"<|user|>", " h", "i"}));
  const auto other = *SentencePieceVocabulary({"▁", "h", "i", "▁h"}, {"<|user|>"}).Build();
  EXPECT_EQ(PiecesOf(*other, "<|user|> \n hi"), (Pieces{"<|user|>", " ", " ", "\n", " h", "i"}));
}

TEST(SentencePiece, TheHighestScoreMergesFirst) {
  // "ab" before "bc" by score.
  const auto tokenizer = *SentencePieceVocabulary({"▁", "a", "b", "c", "ab", "bc"}).Build();
  EXPECT_EQ(PiecesOf(*tokenizer, "abc"), (Pieces{" ", "ab", "c"}));
  const auto other = *SentencePieceVocabulary({"▁", "a", "b", "c", "bc", "ab"}).Build();
  EXPECT_EQ(PiecesOf(*other, "abc"), (Pieces{" ", "a", "bc"}));
}

TEST(SentencePiece, CharactersThatAreNoTokenBecomeBytes) {
  const auto tokenizer = *SentencePieceVocabulary({"▁"}).Build();
  EXPECT_EQ(tokenizer->Encode("é", {.add_special = false}), (std::vector<Token>{259, 3 + 0xC3, 3 + 0xA9}));
  EXPECT_EQ(tokenizer->Decode(tokenizer->Encode("é\xff ▁", {})), "é\xff  ");  // ▁ and a space are one
}

TEST(SentencePiece, TheSpaceBeforeATextIsAddedAndTakenAwayAgain) {
  const auto with = *SentencePieceVocabulary({"▁", "a", "▁a"}).Build();
  EXPECT_EQ(PiecesOf(*with, "a"), Pieces{" a"});
  EXPECT_EQ(PiecesOf(*with, " a"), (Pieces{" ", " a"}));
  EXPECT_EQ(with->Decode(with->Encode(" a", {})), " a");
  EXPECT_EQ(PiecesOf(*with, "a", {.add_special = false, .space_prefix = false}), Pieces{"a"});
  const auto without =
      *SentencePieceVocabulary({"▁", "a", "▁a"}).Bool("tokenizer.ggml.add_space_prefix", false).Build();
  EXPECT_EQ(PiecesOf(*without, "a"), Pieces{"a"});
  EXPECT_EQ(without->Decode(without->Encode(" a", {})), " a");
}

TEST(SentencePiece, OldFilesHaveTheUsualIds) {
  const auto tokenizer = *SentencePieceVocabulary({"▁"}).Build();
  EXPECT_EQ(tokenizer->bos(), Token{1});
  EXPECT_EQ(tokenizer->eos(), Token{2});
  EXPECT_TRUE(tokenizer->EndsGeneration(2));
  EXPECT_EQ(tokenizer->Encode("", {}), std::vector<Token>{1});
}

// Gemma 4: merges over characters, ▁ for spaces, runs of newlines whole, <0xC3> for what is not there.
TEST(Tokenizer, Gemma4MergesCharacters) {
  VocabularyBuilder builder;
  builder.String("tokenizer.ggml.model", "gemma4");
  builder.Strings("tokenizer.ggml.tokens",
                  {"<bos>", "▁", "h", "é", "▁h", "\n", "\n\n", "<0xE6>", "<0x97>", "<0xA5>", "hé"});
  builder.Int32s("tokenizer.ggml.token_type", {3, 1, 1, 1, 1, 1, 1, 6, 6, 6, 1});
  builder.Strings("tokenizer.ggml.merges", {"▁ h", "h é"}).Uint32("tokenizer.ggml.bos_token_id", 0);
  const auto tokenizer = *builder.Build();
  EXPECT_EQ(tokenizer->Encode("hé hé\n\n日", {}), (std::vector<Token>{0, 10, 4, 3, 6, 7, 8, 9}));
  EXPECT_EQ(tokenizer->Decode(tokenizer->Encode("hé hé\n\n日", {})), "hé hé\n\n日");
  EXPECT_EQ(tokenizer->Encode("\n\n\n", {.add_special = false}), (std::vector<Token>{5, 5, 5}));
}

}  // namespace
}  // namespace fedglm
