#include "aggregator/updates/spool.h"

#include <gtest/gtest.h>

#include "tests/aggregator/rounds/small_federation.h"

namespace fedglm {
namespace {

class SpoolTest : public testing::Test {
 protected:
  void SetUp() override { Reopen(); }
  void Reopen() { spool_ = Get(Spool::Open(folder_.path() / "spool")); }
  void Write(const std::string& id, uint64_t offset, const std::string& bytes) {
    const auto writer = Get(spool_->Begin(id, offset));
    ASSERT_TRUE(writer->Append(bytes).ok());
  }
  TemporaryDirectory folder_ = MakeFolder();
  std::unique_ptr<Spool> spool_;
};

TEST_F(SpoolTest, ATransferGoesOnWhereItStoppedAlsoAfterARestart) {
  EXPECT_EQ(spool_->Received("u"), 0u);
  Write("u", 0, "Hello, ");
  EXPECT_EQ(spool_->Received("u"), 7u);
  Reopen();
  EXPECT_EQ(spool_->Received("u"), 7u);
  Write("u", 7, "world");
  Reopen();
  EXPECT_EQ(Get(ReadFile(spool_->Path("u"))), "Hello, world");
}

TEST_F(SpoolTest, AnEarlierOffsetCutsOffWhatIsBeyond) {
  Write("u", 0, "0123456789");
  Write("u", 4, "ab");
  EXPECT_EQ(Get(ReadFile(spool_->Path("u"))), "0123ab");
}

TEST_F(SpoolTest, AnOffsetBeyondWhatIsThereIsRefused) {
  Write("u", 0, "0123");
  EXPECT_EQ(ExitCodeOf(spool_->Begin("u", 5).status()), ExitCode::kUsage);
  EXPECT_EQ(Get(ReadFile(spool_->Path("u"))), "0123");
  EXPECT_TRUE(spool_->Begin("u", 4).ok());  // and does not bar the next one
}

TEST_F(SpoolTest, TwoTransfersOfOneUpdateExcludeEachOther) {
  auto first = Get(spool_->Begin("u", 0));
  ASSERT_TRUE(first->Append("one").ok());
  EXPECT_EQ(spool_->Begin("u", 0).status().code(), absl::StatusCode::kAborted);
  EXPECT_TRUE(spool_->Begin("another", 0).ok());
  ASSERT_TRUE(first->Append(" more").ok());
  EXPECT_EQ(first->bytes(), 8u);
  first.reset();
  EXPECT_EQ(Get(ReadFile(spool_->Path("u"))), "one more");
  EXPECT_TRUE(spool_->Begin("u", 8).ok());
}

// A transfer that is begun and turned away (the update was accepted meanwhile) must not have harmed the file.
TEST_F(SpoolTest, NothingIsTouchedBeforeTheFirstByte) {
  Write("u", 0, "accepted");
  { const auto late = Get(spool_->Begin("u", 0)); }
  EXPECT_EQ(Get(ReadFile(spool_->Path("u"))), "accepted");
  { const auto never = Get(spool_->Begin("v", 0)); }
  EXPECT_FALSE(std::filesystem::exists(spool_->Path("v")));
}

TEST_F(SpoolTest, AFileThatWasRemovedMeanwhileIsNotGoneOnWith) {
  Write("u", 0, "0123");
  const auto writer = Get(spool_->Begin("u", 4));
  spool_->Remove("u");
  EXPECT_EQ(writer->Append("4567").code(), absl::StatusCode::kAborted);
}

TEST_F(SpoolTest, OldUpdatesAreSweptAway) {
  Write("old", 0, "x");
  Write("new", 0, "y");
  spool_->RemoveAllBut({"new", "not there"});
  EXPECT_EQ(spool_->Received("old"), 0u);
  EXPECT_EQ(Get(ReadFile(spool_->Path("new"))), "y");
  EXPECT_EQ(ReadFile(spool_->Path("old")).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace fedglm
