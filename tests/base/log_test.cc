#include "base/log.h"

#include <gtest/gtest.h>

#include <sstream>

#include "base/configuration.h"
#include "base/file.h"
#include "base/json.h"

namespace fedglm {
namespace {

class LogTest : public testing::Test {
 protected:
  ~LogTest() override { EXPECT_TRUE(InitializeLogging({.program = "test", .level = LogLevel::kWarning}).ok()); }
  std::vector<std::string> Lines() const {
    std::istringstream text(ReadFile(path_).value_or(""));
    std::vector<std::string> lines;
    for (std::string line; std::getline(text, line);) lines.push_back(line);
    return lines;
  }

  TemporaryDirectory folder_ = *TemporaryDirectory::Make("fedglm-log-test");
  std::filesystem::path path_ = folder_.path() / "node.log";
};

TEST_F(LogTest, WritesItsLevelAndAbove) {
  ASSERT_TRUE(InitializeLogging({.program = "node", .level = LogLevel::kInfo, .file = path_}).ok());
  LogDebug("hidden");
  LogInfo("round 3 begins");
  LogError("{} is no format %s");
  const std::vector<std::string> lines = Lines();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_NE(lines[0].find("Z node I round 3 begins"), std::string::npos) << lines[0];
  EXPECT_NE(lines[1].find("Z node E {} is no format %s"), std::string::npos) << lines[1];
}

TEST_F(LogTest, ItsOptionsAreReadFromAConfiguration) {
  Configuration said = *Configuration::Parse("[log]\nlevel = 'error'\nfile = '/var/log/x'\njson = true\n", "test");
  const absl::StatusOr<LogOptions> options = ReadLogOptions(said, "node");
  ASSERT_TRUE(options.ok()) << Message(options.status());
  EXPECT_EQ(options->program, "node");
  EXPECT_EQ(options->level, LogLevel::kError);
  EXPECT_EQ(options->file, "/var/log/x");
  EXPECT_TRUE(options->json);
  EXPECT_TRUE(said.Finish().ok());

  Configuration silent = *Configuration::Parse("", "test");
  EXPECT_EQ(ReadLogOptions(silent, "node")->level, LogLevel::kInfo);
  Configuration wrong = *Configuration::Parse("[log]\nlevel = 'loud'\n", "test");
  const absl::Status status = ReadLogOptions(wrong, "node").status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kConfiguration);
  EXPECT_NE(Message(status).find("log.level"), std::string::npos);
}

TEST_F(LogTest, OneEventIsOneLineWhateverAPeerPutIntoIt) {
  ASSERT_TRUE(InitializeLogging({.program = "node", .file = path_}).ok());
  LogInfo("site 'a\n2026-01-01 node E forged\r\x1b[2J'");
  const std::vector<std::string> lines = Lines();
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].find('\x1b'), std::string::npos);
  EXPECT_EQ(lines[0].find('\r'), std::string::npos);
}

TEST_F(LogTest, JsonLinesAreJson) {
  ASSERT_TRUE(InitializeLogging({.program = "node", .file = path_, .json = true}).ok());
  LogWarning("a \"quoted\" \\ word\n and \xff");
  const std::vector<std::string> lines = Lines();
  ASSERT_EQ(lines.size(), 1u);
  const absl::StatusOr<Json> json = ParseJson(lines[0], "log");
  ASSERT_TRUE(json.ok()) << lines[0];
  EXPECT_EQ((*json)["message"], "a \"quoted\" \\ word  and \xEF\xBF\xBD");
  EXPECT_EQ((*json)["level"], "warning");
  EXPECT_EQ((*json)["program"], "node");
  EXPECT_EQ((*json)["time"].get<std::string>().size(), 24u);
}

TEST_F(LogTest, OffIsOff) {
  ASSERT_TRUE(InitializeLogging({.program = "node", .level = LogLevel::kOff, .file = path_}).ok());
  LogError("x");
  EXPECT_TRUE(Lines().empty());
}

TEST_F(LogTest, AFileThatCannotBeWrittenIsAnError) {
  ASSERT_TRUE(WriteFileAtomically(path_, "").ok());
  EXPECT_EQ(ExitCodeOf(InitializeLogging({.program = "node", .file = path_ / "below" / "log"})), ExitCode::kFailed);
}

TEST(LogLevel, Names) {
  EXPECT_EQ(*ParseLogLevel("debug"), LogLevel::kDebug);
  EXPECT_EQ(*ParseLogLevel("info"), LogLevel::kInfo);
  EXPECT_EQ(*ParseLogLevel("warning"), LogLevel::kWarning);
  EXPECT_EQ(*ParseLogLevel("error"), LogLevel::kError);
  EXPECT_EQ(*ParseLogLevel("off"), LogLevel::kOff);
  EXPECT_EQ(ExitCodeOf(ParseLogLevel("verbose").status()), ExitCode::kConfiguration);
}

}  // namespace
}  // namespace fedglm
