#include "inference/tokenizer/pretokenizer.h"

#include "gtest/gtest.h"
#include "tests/support/thread_seconds.h"

namespace fedglm {
namespace {

using Pieces = std::vector<std::string>;

Pieces Split(const std::string& name, const std::string& text) {
  const auto facts = FindPretokenizer(name);
  EXPECT_TRUE(facts.ok()) << Message(facts.status());
  if (!facts.ok()) return {};
  const auto pretokenizer = Pretokenizer::Make(facts->patterns);
  EXPECT_TRUE(pretokenizer.ok()) << Message(pretokenizer.status());
  if (!pretokenizer.ok()) return {};
  Pieces pieces;
  for (const std::string_view piece : pretokenizer->Split(text)) pieces.emplace_back(piece);
  return pieces;
}

constexpr char kMoney[] = "I'LL pay $1234567, x²!";
constexpr char kScripts[] = "camelCase ÉCOLE's  日本語\n\n \tend  ";

struct Family {
  std::vector<const char*> names;
  Pieces money, scripts;
};

// Every name that llama.cpp knows, grouped by what it makes of the two texts. The pieces were computed with Python's
// regex module from the patterns in the models' tokenizer.json files.
const std::vector<Family>& Families() {
  static const std::vector<Family> families = {
      {{"a.x-4.0", "exaone4", "gigachat", "gpt-2", "granite-docling", "jais", "jina-de", "jina-es", "jina-v1-en",
        "jina-v2-code", "jina-v2-de", "jina-v2-es", "mellum", "modern-bert", "mpt", "olmo", "phi-2", "roberta-bpe",
        "trillion"},
       {"I", "'", "LL", " pay", " $", "1234567", ",", " x", "²", "!"},
       {"camelCase", " ÉCOLE", "'s", " ", " 日本語", "\n\n ", "\t", "end", "  "}},
      {{"afmoe"},
       {"I", "'LL", " pay", " $", "1", "234", "567", ",", " x", "²", "!"},
       {"camelCase", " ÉCOLE", "'s", "  ", "日本語", "\n\n", " ", "\tend", "  "}},
      {{"bailingmoe", "bailingmoe2", "deepseek-r1-qwen", "f2llmv2", "grok-2", "hunyuan", "kormo", "laguna", "llada-moe",
        "megrez", "qwen2", "qwen35", "seed-coder", "solar-open", "stablelm2", "ufakzeka"},
       {"I", "'LL", " pay", " $", "1", "2", "3", "4", "5", "6", "7", ",", " x", "²", "!"},
       {"camelCase", " ÉCOLE", "'s", " ", " 日本語", "\n\n", " ", "\tend", "  "}},
      {{"bloom", "gpt3-finnish", "poro-chat"},
       {"I'LL", " pay", " $1234567", ",", " x²", "!"},
       {"camelCase", " ÉCOLE's", " ", " 日本語", "\n\n \t", "end", "  "}},
      {{"chameleon"},
       {"I", "'", "LL", " pay", " ", "$", "1", "2", "3", "4", "5", "6", "7", ",", " x", "²", "!"},
       {"camelCase", " ÉCOLE", "'", "s", "  ", "日本語", "\n", "\n", " ", "\t", "end", "  "}},
      {{"chatglm-bpe", "dbrx", "falcon-h1", "falcon3", "glm4", "jais-2", "jina-v5-nano", "lfm2", "llama-bpe",
        "llama-v3", "llama3", "midm-2.0", "minicpm5", "pixtral", "smaug-bpe"},
       {"I", "'LL", " pay", " $", "123", "456", "7", ",", " x", "²", "!"},
       {"camelCase", " ÉCOLE", "'s", " ", " 日本語", "\n\n", " ", "\tend", "  "}},
      {{"codeshell", "command-r", "exaone", "mellum2", "minerva-7b", "refact", "smollm", "starcoder"},
       {"I", "'", "LL", " pay", " $", "1", "2", "3", "4", "5", "6", "7", ",", " x", "²", "!"},
       {"camelCase", " ÉCOLE", "'s", " ", " 日本語", "\n\n ", "\t", "end", "  "}},
      {{"cohere2moe", "tiny_aya"},
       {"I'LL", " pay", " $", "1", "234", "567", ",", " x", "²", "!"},
       {"camel", "Case", " ÉCOLE's", " ", " 日本語", "\n\n", " ", "\tend", "  "}},
      {{"deepseek-coder"},
       {"I", "'", "LL", " pay", " $", "1", "2", "3", "4", "5", "6", "7", ",", " x", "²", "!"},
       {"camelCase", " ÉCOLE", "'", "s", " ", " ", "日本語", "\n", "\n", " ", "\tend", "  "}},
      {{"deepseek-llm"},
       {"I", "'", "LL", " pay", " $", "1234567", ",", " x", "²", "!"},
       {"camelCase", " É", "COLE", "'", "s", "  ", "日本語", "\n", "\n", " ", "\tend", "  "}},
      {{"deepseek-v3", "hunyuan-dense", "hy_v4", "joyai-llm"},
       {"I", "'LL", " pay", " $", "123", "456", "7", ",", " x", "²", "!"},
       {"camelCase", " ÉCOLE", "'s", "  ", "日本語", "\n\n", " ", "\tend", "  "}},
      {{"default", "falcon"},
       {"I", "'", "LL", " pay", " ", "$", "123", "456", "7", ",", " x", "²", "!"},
       {"camelCase", " ÉCOLE", "'", "s", " ", " 日本語", "\n\n ", "\t", "end", "  "}},
      {{"exaone-moe"},
       {"I", "'LL", " pay", " $", "1", "2", "3", "4", "5", "6", "7", ",", " x", "²", "!"},
       {"camelCase ÉCOLE", "'s", " ", " 日本語", "\n\n", " ", "\tend", "  "}},
      {{"gemma4", "granite-embed-multi-311m", "sarvam-moe"},
       {"I'LL pay $1234567, x²!"},
       {"camelCase ÉCOLE's  日本語", "\n\n", " \tend  "}},
      {{"gpt-4o", "granite-embed-multi-97m", "kanana2", "llama4", "minimax-m2", "talkie"},
       {"I'LL", " pay", " $", "123", "456", "7", ",", " x", "²", "!"},
       {"camel", "Case", " ÉCOLE's", " ", " 日本語", "\n\n", " ", "\tend", "  "}},
      {{"kimi-k2"},
       {"I'LL", " pay", " $", "123", "456", "7", ",", " x", "²", "!"},
       {"camel", "Case", " ÉCOLE's", " ", " ", "日本語", "\n\n", " ", "\tend", "  "}},
      {{"spark2_5"},
       {"I", "'LL", " pay", " $", "1", "2", "3", "4", "5", "6", "7", ",", " x", "²", "!"},
       {"camelCase", " ÉCOLE", "'s", "  ", "日本語", "\n", "\n", " ", "\tend", "  "}},
      {{"superbpe"}, {"I'LL pay $", "1", "234", "567", ", x", "²", "!"}, {"camelCase ÉCOLE's  日本語\n\n \tend  "}},
      {{"tekken"},
       {"I", "'LL", " pay", " $", "1", "2", "3", "4", "5", "6", "7", ",", " x", "²", "!"},
       {"camel", "Case", " ÉCOLE", "'s", " ", " 日本語", "\n\n", " ", "\tend", "  "}},
      {{"viking"},
       {"I'LL", " pay", " $", "1", "2", "3", "4", "5", "6", "7", ",", " x", "²", "!"},
       {"camelCase", " ÉCOLE's", " ", " 日本語", "\n\n \t", "end", "  "}},
      {{"youtu"},
       {"I'LL", " pay", " $", "1", "2", "3", "4", "5", "6", "7", ",", " x", "²", "!"},
       {"camel", "Case", " ÉCOLE's", "  ", "日本語", "\n\n", " ", "\tend", "  "}},
  };
  return families;
}

TEST(Pretokenizer, EveryNameCutsAsItsModelsOwnPatternsDo) {
  int names = 0;
  for (const Family& family : Families()) {
    for (const char* name : family.names) {
      ++names;
      EXPECT_EQ(Split(name, kMoney), family.money) << name;
      EXPECT_EQ(Split(name, kScripts), family.scripts) << name;
    }
  }
  EXPECT_EQ(names, 89);
}

TEST(Pretokenizer, AFileWithoutANameTakesTheDefault) { EXPECT_EQ(Split("", kMoney), Split("default", kMoney)); }

TEST(Pretokenizer, AnUnknownNameIsABadFile) {
  EXPECT_EQ(ExitCodeOf(FindPretokenizer("no-such-thing").status()), ExitCode::kBadInputFile);
}

// What sets families apart that agree on the texts above.
TEST(Pretokenizer, FamiliesDifferWhereTheirPatternsDo) {
  EXPECT_EQ(Split("falcon", "a`b"), (Pieces{"a", "`", "b"}));
  EXPECT_EQ(Split("default", "12345"), (Pieces{"123", "45"}));
  EXPECT_EQ(Split("qwen2", "हिन्दी"), (Pieces{"ह", "िन", "्द", "ी"}));
  EXPECT_EQ(Split("qwen35", "हिन्दी"), (Pieces{"हिन्दी"}));
  EXPECT_EQ(Split("ufakzeka", "Ankara's 12"), (Pieces{"Ankara", "'s", " ", "1", "2"}));
  EXPECT_EQ(Split("ufakzeka", "Ankara'sta"), (Pieces{"Ankara", "'sta"}));
  EXPECT_EQ(Split("qwen2", "Ankara'sta"), (Pieces{"Ankara", "'s", "ta"}));
  EXPECT_EQ(Split("seed-coder", "a;\nb"), (Pieces{"a", ";", "\n", "b"}));
  EXPECT_EQ(Split("qwen2", "a;\nb"), (Pieces{"a", ";\n", "b"}));
  EXPECT_EQ(Split("bailingmoe", "a\n\nb"), (Pieces{"a", "\n\n", "b"}));
  EXPECT_EQ(Split("laguna", "a \n \nb"), (Pieces{"a", " ", "\n", " ", "\n", "b"}));
  EXPECT_EQ(Split("gpt-4o", "x//\ny"), (Pieces{"x", "//\n", "y"}));
  EXPECT_EQ(Split("jais-2", "a" + std::string(7, ' ') + "b"), (Pieces{"a", "    ", "  ", " b"}));
  EXPECT_EQ(Split("chameleon", "<sentinel:12>IMGIMGABZ"), (Pieces{"<", "sentinel", ":", "1", "2", ">", "IMGIMGABZ"}));
  EXPECT_EQ(Split("kimi-k2", "go走!"), (Pieces{"go", "走", "!"}));
  EXPECT_EQ(Split("minicpm5", "a1234"), (Pieces{"a", "123", "4"}));
}

TEST(Pretokenizer, ThreesAreCountedFromTheRight) {
  EXPECT_EQ(Split("superbpe", "x 123456, 12² 7"), (Pieces{"x ", "123", "456", ", ", "12²", " ", "7"}));
  EXPECT_EQ(Split("afmoe", "1234"), (Pieces{"1", "234"}));
  EXPECT_EQ(Split("tiny_aya", "12345 12345a"), (Pieces{"12", "345", " ", "123", "45", "a"}));
  EXPECT_EQ(Split("tiny_aya", "१२३४"), (Pieces{"१", "२३४"}));
}

TEST(Pretokenizer, UnicodeSpacesAreSpacesButTheMongolianSeparatorIsNone) {
  EXPECT_EQ(Split("llama-bpe", "a\u3000\u2028b"), (Pieces{"a", "\u3000", "\u2028b"}));
  EXPECT_EQ(Split("gpt-2", "\u0085\u0085a"), (Pieces{"\u0085", "\u0085", "a"}));
  EXPECT_EQ(Split("gpt-2", "a \u180eb"), (Pieces{"a", " \u180e", "b"}));
}

TEST(Pretokenizer, BytesThatAreNoUtf8BecomePiecesAndNothingIsLost) {
  EXPECT_EQ(Split("llama-bpe", "ab\xff\xfe cd"), (Pieces{"ab", "\xff\xfe", " cd"}));
  EXPECT_EQ(Split("llama-bpe", "\xed\xa0\x80"), (Pieces{"\xed\xa0\x80"}));  // a surrogate
  EXPECT_EQ(Split("llama-bpe", "x\xe6\x97"), (Pieces{"x", "\xe6\x97"}));    // cut off
  for (const Family& family : Families()) {
    for (const char* name : family.names) {
      std::string joined;
      for (const std::string& piece : Split(name, "It's 12\xc0\xaf ÄÖ\xf5\n\n日本\xe6")) joined += piece;
      EXPECT_EQ(joined, "It's 12\xc0\xaf ÄÖ\xf5\n\n日本\xe6") << name;
    }
  }
}

// Long text without a place to cut is what makes a careless pattern quadratic. Linear ones need hundredths of a second
// here; quadratic ones minutes.
TEST(Pretokenizer, LongTextOfOneKindIsCutInLinearTime) {
  constexpr size_t kSize = 256 << 10;
  const auto repeat = [](std::string_view atom) {
    std::string text;
    while (text.size() < kSize) text += atom;
    return text;
  };
  std::vector<std::string> texts;
  for (const char* atom :
       {"a", "A", "7", " ", "\n", "\t", "!", "日", "é", "\u0301", "²", "\xff", "\xffz", "'", "a ", "1a"}) {
    texts.push_back(repeat(atom));
  }
  texts.push_back(repeat(" ") + "x");
  texts.push_back(repeat("1") + "x");
  const double begin = ThreadSeconds();
  for (const Family& family : Families()) {
    const auto pretokenizer = Pretokenizer::Make(FindPretokenizer(family.names[0])->patterns);
    for (const std::string& text : texts) {
      const double family_begin = ThreadSeconds();
      size_t bytes = 0;
      for (const std::string_view piece : pretokenizer->Split(text)) bytes += piece.size();
      EXPECT_EQ(bytes, text.size()) << family.names[0];
      EXPECT_LT(ThreadSeconds() - family_begin, 30) << family.names[0] << " on " << text.substr(0, 8);
    }
  }
  RecordProperty("seconds", std::to_string(ThreadSeconds() - begin));
}

}  // namespace
}  // namespace fedglm
