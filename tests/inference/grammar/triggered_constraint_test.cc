// Grammars that wait for the text to begin in a certain way.
#include "gmock/gmock.h"
#include "tests/inference/grammar/random_answer.h"
#include "tests/inference/tokenizer/vocabulary_builder.h"

namespace fedglm {
namespace {

using testing::IsSupersetOf, testing::Not, testing::Contains, testing::UnorderedElementsAre;

class TriggeredConstraintTest : public testing::Test {
 protected:
  void SetUp() override {
    // All bytes, and the tokens "ge", "get", "\n{" and "\n1" ("Ċ" is how byte-level BPE spells a line end).
    ByteVocabulary vocabulary{.merges = {"g e", "ge t", "Ċ {", "Ċ 1"}, .controls = {"<|endoftext|>", "<|mask|>"}};
    auto builder = vocabulary.Builder();
    builder.Uint32("tokenizer.ggml.eos_token_id", 260);
    const auto tokenizer = builder.Build();
    ASSERT_TRUE(tokenizer.ok()) << Message(tokenizer.status());
    tokenizer_ = *tokenizer;
    ASSERT_TRUE(tokenizer_->EndsGeneration(260));
    trie_ = BuildTokenTrie(*tokenizer_);
    constraint_ =
        MakeTriggeredConstraint({{"get\n", Parsed("root ::= \"{}\"")}, {"go\n", Parsed("root ::= \"1\"")}}, trie_);
  }

  static std::shared_ptr<const Grammar> Parsed(const std::string& gbnf) {
    const auto grammar = ParseGrammar(gbnf);
    EXPECT_TRUE(grammar.ok()) << Message(grammar.status());
    return grammar.ok() ? *grammar : nullptr;
  }
  std::vector<std::string> Allowed() {
    std::vector<float> logits(static_cast<size_t>(tokenizer_->size()), 1.0f);
    constraint_->Mask(logits);
    std::vector<std::string> pieces;
    for (size_t i = 0; i < logits.size(); ++i) {
      if (!std::isinf(logits[i])) pieces.push_back(tokenizer_->Piece(static_cast<Token>(i), /*render_special=*/true));
    }
    return pieces;
  }
  void Accept(const std::string& piece) {
    for (Token token = 0; token < tokenizer_->size(); ++token) {
      if (tokenizer_->Piece(token, true) == piece) return constraint_->Accept(token);
    }
    FAIL() << "no token " << piece;
  }
  size_t All() const { return static_cast<size_t>(tokenizer_->size()); }

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::shared_ptr<const TokenTrie> trie_;
  std::shared_ptr<TokenConstraint> constraint_;
};

TEST_F(TriggeredConstraintTest, TextIsFree) {
  EXPECT_EQ(Allowed().size(), All()) << "control tokens and an end at once, too";
  Accept("g");
  EXPECT_EQ(Allowed().size(), All());
  Accept("1");
  Accept("\n{");
  EXPECT_EQ(Allowed().size(), All());
}

TEST_F(TriggeredConstraintTest, TheGrammarHoldsFromTheEndOfTheTrigger) {
  for (const char* piece : {"ge", "t", "\n"}) Accept(piece);
  EXPECT_THAT(Allowed(), UnorderedElementsAre("{"));
  Accept("{");
  EXPECT_THAT(Allowed(), UnorderedElementsAre("}"));
  Accept("}");
  EXPECT_THAT(Allowed(), UnorderedElementsAre("<|endoftext|>"));
}

TEST_F(TriggeredConstraintTest, ATokenThatEndsTheTriggerMayGoOnOnlyAsTheGrammarDoes) {
  Accept("get");
  EXPECT_EQ(Allowed().size(), All() - 1) << "all but one";
  EXPECT_THAT(Allowed(), Not(Contains("\n1")));
  EXPECT_THAT(Allowed(), IsSupersetOf({"\n", "\n{", "<|endoftext|>", "x"}));
  Accept("\n{");
  EXPECT_THAT(Allowed(), UnorderedElementsAre("}"));
}

TEST_F(TriggeredConstraintTest, EachTriggerHasItsOwnGrammar) {
  for (const char* piece : {"g", "o"}) Accept(piece);
  EXPECT_THAT(Allowed(), Not(Contains("\n{")));
  Accept("\n1");
  EXPECT_THAT(Allowed(), UnorderedElementsAre("<|endoftext|>"));
}

TEST_F(TriggeredConstraintTest, WhatIsLikeATriggerLaterOnIsText) {
  for (const char* piece : {"\n", "get", "\n"}) Accept(piece);
  EXPECT_EQ(Allowed().size(), All());
}

TEST_F(TriggeredConstraintTest, AControlTokenDecidesNothing) {
  for (const char* piece : {"<|mask|>", "get", "\n"}) Accept(piece);
  EXPECT_THAT(Allowed(), UnorderedElementsAre("{"));
}

TEST_F(TriggeredConstraintTest, WithoutTriggersEverythingIsFree) {
  constraint_ = MakeTriggeredConstraint({}, trie_);
  for (const char* piece : {"get", "\n"}) Accept(piece);
  EXPECT_EQ(Allowed().size(), All());
}

}  // namespace
}  // namespace fedglm
