// `init` of both programs: a file to begin with, which is not written over, and what to do next.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/integration/processes.h"

namespace fedglm {
namespace {

using testing::HasSubstr;

TEST(Init, WritesAFileAndNoOtherOverIt) {
  const TemporaryDirectory folder = Get(TemporaryDirectory::Make("init"));
  for (const std::string program : {"fedglm-aggregator", "fedglm-node"}) {
    const std::filesystem::path below = folder.path() / program;
    const std::filesystem::path file = below / (program.substr(7) + ".toml");
    const Outcome made = RunProgram(program, {"init", below.string()}, folder.path());
    EXPECT_EQ(made.status, 0) << made.err;
    EXPECT_EQ(made.out, "");
    EXPECT_THAT(made.err, HasSubstr(program + " --config " + file.string())) << "what comes next";
    const std::string text = Get(ReadFile(file));
    EXPECT_THAT(text, HasSubstr("[federation]"));
    ASSERT_TRUE(WriteFileAtomically(file, "mine").ok());
    const Outcome again = RunProgram(program, {"init", below.string()}, folder.path());
    EXPECT_EQ(again.status, static_cast<int>(ExitCode::kFailed));
    EXPECT_THAT(again.err, HasSubstr("is there already, and is not overwritten"));
    EXPECT_EQ(Get(ReadFile(file)), "mine");
  }
}

TEST(Init, WithoutItAConfigurationFileMustBeNamed) {
  const TemporaryDirectory folder = Get(TemporaryDirectory::Make("init"));
  for (const std::string program : {"fedglm-aggregator", "fedglm-node"}) {
    const Outcome outcome = RunProgram(program, {}, folder.path());
    EXPECT_EQ(outcome.status, static_cast<int>(ExitCode::kUsage));
    EXPECT_THAT(outcome.err, HasSubstr("--config is required"));
  }
}

}  // namespace
}  // namespace fedglm
