#include "client/site_state.h"

#include <gmock/gmock.h>

#include "tests/client/site_fixture.h"

namespace fedglm {
namespace {

class SiteStateTest : public testing::Test {
 protected:
  const TemporaryDirectory folder_ = MakeFolder();
};

TEST_F(SiteStateTest, ANewSiteHasNothingInstalledAndSeenNothing) {
  EXPECT_EQ(Get(ReadInstalled(folder_.path())).round, -1);
  EXPECT_EQ(Get(ReadProgress(folder_.path())).ExamplesBefore(1), 0);
}

TEST_F(SiteStateTest, WhatIsInstalledIsReadAgain) {
  ASSERT_TRUE(WriteInstalled({0, std::string(64, 'a')}, folder_.path()).ok());
  EXPECT_EQ(Get(ReadInstalled(folder_.path())).round, 0) << "the round that the federation starts from";
  ASSERT_TRUE(WriteInstalled({7, std::string(64, 'c')}, folder_.path()).ok());
  EXPECT_EQ(Get(ReadInstalled(folder_.path())).round, 7);
  EXPECT_EQ(Get(ReadInstalled(folder_.path())).sha256, std::string(64, 'c'));
}

TEST_F(SiteStateTest, ARoundThatIsTrainedTwiceBeginsWhereItBegan) {
  const auto train = [&](int64_t round, int64_t examples) {
    const int64_t before = Get(ReadProgress(folder_.path())).ExamplesBefore(round);
    EXPECT_TRUE(WriteProgress({round, before, before + examples}, folder_.path()).ok());
    return before;
  };
  EXPECT_EQ(train(1, 40), 0);
  EXPECT_EQ(train(1, 40), 0) << "killed before the update was in the outbox";
  EXPECT_EQ(train(2, 30), 40);
  EXPECT_EQ(train(2, 30), 40);
  EXPECT_EQ(train(5, 10), 70) << "a site that was away for two rounds goes on";
}

TEST_F(SiteStateTest, AFileThatIsNoneIsNamed) {
  for (const char* text : {"", "{", "null", R"({"round":"one"})"}) {
    ASSERT_TRUE(WriteFileAtomically(folder_.path() / "progress.json", text).ok());
    EXPECT_EQ(ExitCodeOf(ReadProgress(folder_.path()).status()), ExitCode::kBadInputFile) << text;
  }
}

}  // namespace
}  // namespace fedglm
