#include "training/data/records.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/file.h"
#include "tests/support/golden.h"
#include "training/data/batches.h"
#include "training/data/bpe_trainer.h"

namespace fedglm {
namespace {

class Records : public testing::Test {
 protected:
  void SetUp() override {
    GOLDEN_OR_SKIP(model, "golden/glm4-tiny-q4_k_m.gguf");
    file_ = *GgufFile::Open(model);
    tokenizer_ = *Tokenizer::FromGguf(*file_);
    chat_ = DetectChatTemplate(*file_, *tokenizer_);
    folder_ = std::make_unique<TemporaryDirectory>(*TemporaryDirectory::Make());
  }
  absl::StatusOr<ExampleSet> Load(const std::string& text, int64_t length = 64) {
    const std::filesystem::path path = folder_->path() / "records.jsonl";
    EXPECT_TRUE(WriteFileAtomically(path, text).ok());
    return LoadExamples({path}, *tokenizer_, chat_, length);
  }
  std::shared_ptr<const GgufFile> file_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  ChatTemplate chat_;
  std::unique_ptr<TemporaryDirectory> folder_;
};

std::string CountedText(const Example& example, const Tokenizer& tokenizer) {
  std::string text;
  for (size_t i = 0; i < example.tokens.size(); ++i) {
    if (example.counted[i]) text += tokenizer.Piece(example.tokens[i], true);
  }
  return text;
}

TEST_F(Records, OnlyAnswersCount) {
  const auto set = Load(
      "{\"messages\":[{\"role\":\"user\",\"content\":\"who\"},{\"role\":\"assistant\",\"content\":\"me\"}]}\n"
      "\n{\"prompt\":\"ask\",\"completion\":\"tell\"}\n{\"text\":\"all of it\"}\n");
  ASSERT_TRUE(set.ok()) << Message(set.status());
  ASSERT_EQ(set->examples.size(), 3u);
  EXPECT_EQ(set->records, 3);
  EXPECT_EQ(CountedText(set->examples[0], *tokenizer_).rfind("me", 0), 0u);
  EXPECT_EQ(CountedText(set->examples[1], *tokenizer_).rfind("tell", 0), 0u);
  EXPECT_NE(CountedText(set->examples[2], *tokenizer_).find("of it"), std::string::npos);
}

TEST_F(Records, LongRecordsAreCutAndLongTextsGoOn) {
  const std::string words(400, 'x');
  const auto text = Load("{\"text\":\"" + words + "\"}\n", 16);
  ASSERT_TRUE(text.ok());
  EXPECT_GT(text->examples.size(), 1u);
  EXPECT_EQ(text->cut, 1);
  for (const Example& example : text->examples) EXPECT_LE(example.tokens.size(), 16u);
  const auto answer = Load("{\"prompt\":\"a\",\"completion\":\"" + words + "\"}\n", 16);
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->examples[0].tokens.size(), 16u);
}

// The same records at every sequence length, though a long one is several examples and another one is dropped.
TEST_F(Records, WhatIsSetAsideDependsOnTheRecordAlone) {
  std::string text;
  for (int i = 0; i < 200; ++i) {
    text +=
        "{\"text\":\"" + std::string(static_cast<size_t>(7 * i % 90), 'x') + " number " + std::to_string(i) + "\"}\n";
    text += "{\"prompt\":\"" + std::string(static_cast<size_t>(i % 50), 'y') + "\",\"completion\":\"" +
            std::to_string(i) + "\"}\n";
  }
  const auto records_of = [](const ExampleSet& set) {
    std::set<uint64_t> records;
    for (const Example& example : set.examples) records.insert(example.record);
    return records;
  };
  ExampleSet trained = *Load(text, 16), looked_at = *Load(text + "{\"text\":\"one more\"}\n", 256);
  const size_t all = records_of(looked_at).size();
  KeepPart(trained, 10, /*set_aside=*/false);
  KeepPart(looked_at, 10, /*set_aside=*/true);
  EXPECT_GT(records_of(looked_at).size(), all / 20);
  EXPECT_LT(records_of(looked_at).size(), all / 5);
  for (const uint64_t record : records_of(trained)) EXPECT_FALSE(records_of(looked_at).contains(record));

  ExampleSet few = *Load("{\"text\":\"one\"}\n{\"text\":\"two\"}\n");
  KeepPart(few, 10, /*set_aside=*/true);
  EXPECT_EQ(few.examples.size(), 2u) << "of fewer than ten none is set aside";
}

TEST_F(Records, SaysWhichLineIsWrong) {
  for (const char* bad : {"{\"text\":\"fine\"}\nnot json\n", "{\"text\":\"fine\"}\n[1]\n",
                          "{\"text\":\"fine\"}\n{\"no\":1}\n", "{\"text\":\"fine\"}\n{\"text\":7}\n",
                          "{\"text\":\"fine\"}\n{\"messages\":[{\"role\":\"nobody\",\"content\":\"x\"}]}\n"}) {
    const auto set = Load(bad);
    EXPECT_EQ(ExitCodeOf(set.status()), ExitCode::kBadInputFile) << bad;
    EXPECT_NE(Message(set.status()).find("records.jsonl:2"), std::string::npos) << Message(set.status());
  }
  EXPECT_EQ(ExitCodeOf(Load("").status()), ExitCode::kBadInputFile);
  EXPECT_EQ(ExitCodeOf(LoadExamples({"/nonexistent.jsonl"}, *tokenizer_, chat_, 8).status()), ExitCode::kBadInputFile);
}

ExampleSet Numbered(int count, size_t length) {
  ExampleSet set;
  for (int i = 0; i < count; ++i) {
    Example example;
    example.tokens.assign(length, i);
    example.counted.assign(length, true);
    example.counted[0] = false;
    set.examples.push_back(example);
  }
  return set;
}

TEST(Batches, PackWithoutPaddingAndRememberSegments) {
  const ExampleSet set = Numbered(5, 4);
  const std::vector<Batch> batches = AllBatches(set, 10);
  ASSERT_EQ(batches.size(), 3u);
  EXPECT_EQ(batches[0].tokens.size(), 8u);
  EXPECT_EQ(batches[0].segments, (std::vector<int64_t>{0, 4, 8}));
  EXPECT_EQ(batches[0].positions, (std::vector<int64_t>{0, 1, 2, 3, 0, 1, 2, 3}));
  EXPECT_EQ(batches[0].target_rows, (std::vector<int64_t>{0, 1, 2, 4, 5, 6}));
  EXPECT_EQ(batches[2].examples, 1);
}

TEST(Batches, EveryExampleIsSeenOnceAnEpochAndSkippingGoesOn) {
  ExampleOrder order(10, 3, 0);
  std::vector<int64_t> seen;
  for (int i = 0; i < 25; ++i) seen.push_back(order.Next());
  EXPECT_EQ(std::set<int64_t>(seen.begin(), seen.begin() + 10).size(), 10u);
  EXPECT_EQ(std::set<int64_t>(seen.begin() + 10, seen.begin() + 20).size(), 10u);
  EXPECT_FALSE(std::equal(seen.begin(), seen.begin() + 10, seen.begin() + 10));
  ExampleOrder later(10, 3, 13);
  for (int i = 13; i < 25; ++i) EXPECT_EQ(later.Next(), seen[static_cast<size_t>(i)]);
}

TEST(BpeTrainer, LearnsTheMostFrequentPairsFirst) {
  const auto vocabulary = TrainBpe({"low low low lower lowest", "new newer"}, 262, "glm4");
  ASSERT_TRUE(vocabulary.ok()) << Message(vocabulary.status());
  ASSERT_EQ(vocabulary->tokens.size(), 262u);
  EXPECT_EQ(vocabulary->merges[0], "l o");
  EXPECT_EQ(vocabulary->merges[1], "lo w");
  EXPECT_EQ(vocabulary->tokens[256], "lo");
  const auto again = TrainBpe({"low low low lower lowest", "new newer"}, 262, "glm4");
  EXPECT_EQ(again->tokens, vocabulary->tokens);
  EXPECT_FALSE(TrainBpe({"x"}, 100, "glm4").ok());
}

}  // namespace
}  // namespace fedglm
