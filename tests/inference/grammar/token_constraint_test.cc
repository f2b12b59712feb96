// Which tokens a grammar leaves, with small vocabularies made by hand and with real ones.
#include <chrono>

#include "base/json.h"
#include "gmock/gmock.h"
#include "tests/inference/grammar/random_answer.h"
#include "tests/inference/tokenizer/vocabulary_builder.h"
#include "tests/support/effort.h"

namespace fedglm {
namespace {

std::shared_ptr<const Tokenizer> SmallTokenizer() {
  ByteVocabulary vocabulary{.merges = {"a b", "ab c", "Ã ©"}, .controls = {"<|endoftext|>", "<|mask|>"}};
  auto builder = vocabulary.Builder();
  builder.Uint32("tokenizer.ggml.eos_token_id", 259);
  auto tokenizer = builder.Build();
  EXPECT_TRUE(tokenizer.ok()) << Message(tokenizer.status());
  return tokenizer.ok() ? *tokenizer : nullptr;
}

class Small : public testing::Test {
 protected:
  std::shared_ptr<TokenConstraint> Constrain(const std::string& gbnf) {
    const auto grammar = ParseGrammar(gbnf);
    EXPECT_TRUE(grammar.ok()) << Message(grammar.status());
    return MakeConstraint(*grammar, trie_);
  }
  std::vector<std::string> Allowed(TokenConstraint& constraint) {
    std::vector<float> logits(static_cast<size_t>(tokenizer_->size()) + 70, 1.0f);  // some models pad their logits
    constraint.Mask(logits);
    std::vector<std::string> pieces;
    for (size_t i = 0; i < logits.size(); ++i) {
      if (std::isinf(logits[i])) continue;
      EXPECT_EQ(logits[i], 1.0f);
      pieces.push_back(tokenizer_->Piece(static_cast<Token>(i), /*render_special=*/true));
    }
    return pieces;
  }
  void Accept(TokenConstraint& constraint, const std::string& piece) {
    for (Token token = 0; token < tokenizer_->size(); ++token) {
      if (tokenizer_->Piece(token) == piece) return constraint.Accept(token);
    }
    FAIL() << "no token " << piece;
  }

  std::shared_ptr<const Tokenizer> tokenizer_ = SmallTokenizer();
  std::shared_ptr<const TokenTrie> trie_ = BuildTokenTrie(*tokenizer_);
};

TEST_F(Small, AllTokensThatCanGoOnAreLeftAndEndsOnlyWhereTheTextIsComplete) {
  const auto constraint = Constrain("root ::= \"abc\" \"d\"?");
  EXPECT_THAT(Allowed(*constraint), testing::UnorderedElementsAre("a", "ab", "abc"));
  EXPECT_THAT(Allowed(*constraint), testing::UnorderedElementsAre("a", "ab", "abc")) << "asking changes nothing";
  Accept(*constraint, "ab");
  EXPECT_THAT(Allowed(*constraint), testing::UnorderedElementsAre("c"));
  Accept(*constraint, "c");
  EXPECT_THAT(Allowed(*constraint), testing::UnorderedElementsAre("d", "<|endoftext|>"));
  Accept(*constraint, "d");
  EXPECT_THAT(Allowed(*constraint), testing::UnorderedElementsAre("<|endoftext|>"));
}

TEST_F(Small, CharactersMayBeCutBetweenTokens) {
  const auto constraint = Constrain("root ::= [é-ë]");
  EXPECT_THAT(Allowed(*constraint), testing::UnorderedElementsAre("\xc3", "é"));
  Accept(*constraint, "\xc3");
  EXPECT_THAT(Allowed(*constraint), testing::UnorderedElementsAre("\xa9", "\xaa", "\xab"));
}

TEST_F(Small, OnlyEndsAreLeftWhereTheVocabularyCannotGoOn) {
  ByteVocabulary vocabulary{.controls = {"<|endoftext|>"}};
  const auto constraint = Constrain("root ::= \"a\" | \"\"");
  EXPECT_THAT(Allowed(*constraint), testing::UnorderedElementsAre("a", "<|endoftext|>"));
  // "<|mask|>" is a control token: its text can be written, but never by itself.
  const auto mask = Constrain("root ::= \"<|mask|>\"");
  EXPECT_THAT(Allowed(*mask), testing::UnorderedElementsAre("<"));
}

TEST_F(Small, ALongAnswerForgetsWhatItNoLongerNeeds) {
  const auto constraint = Constrain("root ::= \"(\" root* \")\"");
  for (int i = 0; i < 60'000; ++i) Accept(*constraint, "(");
  for (int i = 0; i < 59'999; ++i) Accept(*constraint, ")");
  EXPECT_THAT(Allowed(*constraint), testing::UnorderedElementsAre("(", ")"));
  Accept(*constraint, ")");
  EXPECT_THAT(Allowed(*constraint), testing::UnorderedElementsAre("<|endoftext|>"));
}

TEST(RealVocabulary, AMaskAgreesWithTryingEachToken) {
  const auto tokenizer = RealTokenizer();
  ASSERT_NE(tokenizer, nullptr);
  const auto grammar = ParseGrammar(AnyJsonGrammar());
  ASSERT_TRUE(grammar.ok());
  // After {"a" a token is right if what it makes can be completed: the shortest ways to do so are tried.
  const auto constraint = MakeConstraint(*grammar, BuildTokenTrie(*tokenizer));
  for (const Token token : tokenizer->Encode("{\"a\"", {.add_special = false, .space_prefix = false}))
    constraint->Accept(token);
  std::vector<float> logits(static_cast<size_t>(tokenizer->size()), 0.0f);
  constraint->Mask(logits);
  int allowed = 0;
  const auto step = static_cast<Token>(10 / Repetitions(10));
  for (Token token = 0; token < tokenizer->size(); token += step) {
    const std::string text = "{\"a\"" + tokenizer->Piece(token);
    bool possible = false;
    for (const char* const end : {"1}", ":1}", "}", "e}", "ue}", "rue}", "l}", "ll}", "ull}", "alse}", "\"}", "]}",
                                  "}}", "]]}", "0\":1}}", "1]}", "\n]}"}) {
      possible = possible || Matches(**grammar, text + end);
    }
    const bool is_special = tokenizer->IsControl(token) || tokenizer->Piece(token).empty();
    EXPECT_EQ(!std::isinf(logits[static_cast<size_t>(token)]), possible && !is_special) << tokenizer->Piece(token);
    allowed += std::isinf(logits[static_cast<size_t>(token)]) ? 0 : 1;
  }
  EXPECT_GT(allowed, 1);
}

// Prints what a mask costs; the limits are wide enough for a busy machine under a sanitizer.
TEST(RealVocabulary, AMaskTakesMilliseconds) {
  for (const char* const name : {"ggml-vocab-llama-bpe.gguf", "ggml-vocab-llama-spm.gguf"}) {
    const auto tokenizer = RealTokenizer(name);
    if (tokenizer == nullptr) continue;
    using Clock = std::chrono::steady_clock;
    const auto milliseconds = [](Clock::duration time) {
      return std::chrono::duration<double, std::milli>(time).count();
    };
    auto begin = Clock::now();
    const auto trie = BuildTokenTrie(*tokenizer);
    std::printf("%s: %lld tokens, trie %.1f ms\n", name, static_cast<long long>(tokenizer->size()),
                milliseconds(Clock::now() - begin));
    struct Case {
      const char* what;
      std::string gbnf, text;
    };
    std::string alternatives;
    for (int i = 0; i < 1000; ++i)
      alternatives += (i > 0 ? " | .{0,100} \"" : " .{0,100} \"") + std::to_string(i) + "\"";
    const Case cases[] = {{"begin of any JSON", AnyJsonGrammar(), ""},
                          {"in a string", AnyJsonGrammar(), "{\"a"},
                          {"in a counted string", "root ::= .{1,4000}", "abc"},
                          {"a thousand ambiguous ways", "root ::=" + alternatives, ""},
                          {"deep ambiguity", "root ::= . root root | .", std::string(200, 'a')}};
    for (const Case& one : cases) {
      const auto grammar = ParseGrammar(one.gbnf);
      ASSERT_TRUE(grammar.ok()) << Message(grammar.status());
      const auto constraint = MakeConstraint(*grammar, trie);
      for (const Token token : tokenizer->Encode(one.text, {.add_special = false, .space_prefix = false})) {
        constraint->Accept(token);
      }
      std::vector<float> logits(static_cast<size_t>(tokenizer->size()));
      const auto first_begin = Clock::now();
      constraint->Mask(logits);
      const double first = milliseconds(Clock::now() - first_begin);
      begin = Clock::now();
      constraint->Mask(logits);
      std::printf("  %-26s first mask %8.3f ms, again %.3f ms\n", one.what, first, milliseconds(Clock::now() - begin));
      EXPECT_LT(first, 20'000) << one.what;
    }
  }
}

TEST(RealVocabulary, AnyJsonParsesAndComesToAnEnd) {
  const auto tokenizer = RealTokenizer();
  ASSERT_NE(tokenizer, nullptr);
  const RandomWriter writer(*tokenizer);
  const auto grammar = FindBuiltinGrammar("json");
  ASSERT_TRUE(grammar.ok());
  std::mt19937_64 random(7);
  for (int i = 0; i < Repetitions(50); ++i) {
    const RandomAnswer answer = writer.Write(*grammar, random);
    EXPECT_TRUE(answer.ended) << answer.text;
    EXPECT_TRUE(nlohmann::json::accept(answer.text)) << answer.text;
  }
}

}  // namespace
}  // namespace fedglm
