#include <limits>

#include "gtest/gtest.h"
#include "tests/inference/tokenizer/vocabulary_builder.h"

namespace fedglm {
namespace {

void ExpectBadFile(VocabularyBuilder builder, const std::string& reason) {
  const auto tokenizer = builder.Build();
  ASSERT_FALSE(tokenizer.ok()) << reason;
  EXPECT_EQ(ExitCodeOf(tokenizer.status()), ExitCode::kBadInputFile) << Message(tokenizer.status());
  EXPECT_NE(Message(tokenizer.status()).find(reason), std::string::npos) << Message(tokenizer.status());
  EXPECT_EQ(Message(tokenizer.status()).find('\n'), std::string::npos);
}

VocabularyBuilder Bpe(const std::vector<std::string>& tokens) {
  VocabularyBuilder builder;
  builder.String("tokenizer.ggml.model", "gpt2").String("tokenizer.ggml.pre", "gpt-2");
  builder.Strings("tokenizer.ggml.tokens", tokens);
  return builder;
}

TEST(MalformedVocabulary, WithoutTokens) {
  ExpectBadFile(VocabularyBuilder(), "tokenizer.ggml.model");
  ExpectBadFile(VocabularyBuilder().String("tokenizer.ggml.model", "gpt2"), "no vocabulary");
  ExpectBadFile(Bpe({}), "no vocabulary");
  ExpectBadFile(VocabularyBuilder().String("tokenizer.ggml.model", "gpt2").Int32s("tokenizer.ggml.tokens", {1, 2}),
                "no vocabulary");
}

TEST(MalformedVocabulary, OfAFamilyThatIsNotSupported) {
  for (const char* model : {"bert", "t5", "rwkv", "plamo2", "none", ""}) {
    VocabularyBuilder builder;
    builder.String("tokenizer.ggml.model", model).Strings("tokenizer.ggml.tokens", {"a"});
    ExpectBadFile(builder, "is not supported");
  }
  ExpectBadFile(ByteVocabulary{.pre = "from-the-future"}.Builder(), "from-the-future");
}

TEST(MalformedVocabulary, ArraysOfAnotherLength) {
  ExpectBadFile(Bpe({"a", "b"}).Int32s("tokenizer.ggml.token_type", {1}), "another length");
  ExpectBadFile(Bpe({"a", "b"}).Int32s("tokenizer.ggml.token_type", {1, 1, 1}), "another length");
  ExpectBadFile(Bpe({"a", "b"}).Strings("tokenizer.ggml.token_type", {"x", "y"}), "another length");
  ExpectBadFile(Bpe({"a", "b"}).Float32s("tokenizer.ggml.scores", {0.5f}), "another length");
}

TEST(MalformedVocabulary, ValuesThatMeanNothing) {
  ExpectBadFile(Bpe({"a", "b"}).Int32s("tokenizer.ggml.token_type", {1, 7}), "unknown type");
  ExpectBadFile(Bpe({"a", "b"}).Int32s("tokenizer.ggml.token_type", {1, -1}), "unknown type");
  ExpectBadFile(Bpe({"a", "b"}).Float32s("tokenizer.ggml.scores", {0, std::numeric_limits<float>::quiet_NaN()}),
                "no number");
  ExpectBadFile(Bpe({"a", "\xff\xfe"}).Strings("tokenizer.ggml.merges", {}), "token 1 is not valid UTF-8");
}

TEST(MalformedVocabulary, MergesThatDoNotFit) {
  ExpectBadFile(Bpe({"a", "b"}), "merges is missing");
  ExpectBadFile(Bpe({"a", "b"}).Int32s("tokenizer.ggml.merges", {1}), "not a list of strings");
  for (const char* merge : {"", "ab", " ", "a", "a ", " b"}) {
    ExpectBadFile(Bpe({"a", "b", "ab"}).Strings("tokenizer.ggml.merges", {"a b", merge}), "merge 1 is not a pair");
  }
  ExpectBadFile(Bpe({"a", "b", "ab"}).Strings("tokenizer.ggml.merges", {"a z"}), "merge 0 joins what is no token");
}

TEST(MalformedVocabulary, SpecialIdsBeyondTheVocabulary) {
  for (const char* key : {"bos", "eos", "eot", "eom", "fim_pad"}) {
    const std::string full = std::string("tokenizer.ggml.") + key + "_token_id";
    ExpectBadFile(ByteVocabulary().Builder().Uint32(full, 256), full + " is 256");
  }
  ExpectBadFile(SentencePieceVocabulary({"a"}).Uint32("tokenizer.ggml.unknown_token_id", 1u << 30), "unknown_token_id");
  // Converters write "none" like this.
  const auto none = ByteVocabulary().Builder().Uint32("tokenizer.ggml.bos_token_id", 0xFFFFFFFF).Build();
  ASSERT_TRUE(none.ok()) << Message(none.status());
  EXPECT_FALSE((*none)->bos().has_value());
}

TEST(MalformedVocabulary, CountsThatTheFileCannotHold) {
  for (const uint64_t count : {uint64_t{1} << 20, uint64_t{1} << 40, ~uint64_t{0}}) {
    VocabularyBuilder builder;
    builder.String("tokenizer.ggml.model", "gpt2").EmptyPromise("tokenizer.ggml.tokens", count);
    const auto tokenizer = builder.Build();
    EXPECT_EQ(ExitCodeOf(tokenizer.status()), ExitCode::kBadInputFile);
  }
}

TEST(MalformedVocabulary, SentencePieceWithoutScores) {
  VocabularyBuilder builder;
  builder.String("tokenizer.ggml.model", "llama").Strings("tokenizer.ggml.tokens", {"<unk>", "<s>", "</s>"});
  ExpectBadFile(builder, "scores is missing");
}

// A vocabulary may be poor, and is no bad file then: what it cannot spell is left out.
TEST(MalformedVocabulary, OneWithoutSomeBytesDropsThem) {
  const auto tokenizer = Bpe({"a", "b", "ab", ""}).Strings("tokenizer.ggml.merges", {"a b"}).Build();
  ASSERT_TRUE(tokenizer.ok()) << Message(tokenizer.status());
  EXPECT_EQ((*tokenizer)->Encode("abxba", {}), (std::vector<Token>{2, 1, 0}));
  EXPECT_EQ((*tokenizer)->Piece(3), "");
  EXPECT_EQ((*tokenizer)->Piece(4), "");
  EXPECT_EQ((*tokenizer)->Piece(-1), "");
}

// Cut short as the golden models' is: the merges of what it dropped are still there.
TEST(MalformedVocabulary, MergesOfDroppedTokensNeverApply) {
  const auto tokenizer = Bpe({"a", "b", "c"}).Strings("tokenizer.ggml.merges", {"a b", "ab c"}).Build();
  ASSERT_TRUE(tokenizer.ok()) << Message(tokenizer.status());
  EXPECT_EQ((*tokenizer)->Encode("abc", {}), (std::vector<Token>{0, 1, 2}));
}

}  // namespace
}  // namespace fedglm
