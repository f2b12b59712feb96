// Model files that are none, given to the program itself: exit code 6 and one line for each.
#include <algorithm>

#include "base/file.h"
#include "base/process.h"
#include "gtest/gtest.h"
#include "tests/support/malformed_gguf.h"
#include "tests/support/source_tree.h"

namespace fedglm {
namespace {

TEST(MalformedModel, IsRefusedByTheProgramWithExitCodeSixAndOneLine) {
  const auto folder = TemporaryDirectory::Make("malformed");
  const std::string model = folder->path() / "model.gguf", out = folder->path() / "out", err = folder->path() / "err";
  for (const MalformedGguf& malformed : MalformedGgufs()) {
    ASSERT_TRUE(WriteFileAtomically(model, malformed.bytes).ok());
    SpawnOptions options;
    options.arguments = {ProgramPath("fedglm"), "inspect", model};
    options.stdout_file = out;
    options.stderr_file = err;
    absl::StatusOr<Process> process = Process::Spawn(options);
    ASSERT_TRUE(process.ok()) << Message(process.status());
    const std::optional<int> status = process->WaitFor(std::chrono::seconds(60));
    const std::string line = *ReadFile(err);
    EXPECT_EQ(status.value_or(-1), static_cast<int>(ExitCode::kBadInputFile)) << malformed.name << ": " << line;
    EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1) << malformed.name << ": " << line;
    EXPECT_TRUE(line.starts_with("fedglm: " + model + ": ")) << malformed.name << ": " << line;
    EXPECT_NE(line.find(malformed.reason), std::string::npos) << malformed.name << ": " << line;
    EXPECT_EQ(*ReadFile(out), "") << malformed.name;
    std::filesystem::remove(out);
    std::filesystem::remove(err);
  }
}

}  // namespace
}  // namespace fedglm
