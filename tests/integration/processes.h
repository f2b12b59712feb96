// Running the programs and looking at what runs, for the tests of this folder.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "base/process.h"
#include "base/status.h"
#include "tests/support/wait_until.h"

namespace fedglm {

// ASSERT_TRUE(Done(status)): the failed test says why.
testing::AssertionResult Done(const absl::Status& status);

// The value, or a failed test that says why and ends.
template <typename T>
T Get(absl::StatusOr<T> value) {
  if (!value.ok()) {
    ADD_FAILURE() << Message(value.status());
    std::abort();  // what follows would have nothing to look at
  }
  return *std::move(value);
}

// A folder in memory where the machine has one: a sync to a disk takes ten milliseconds.
std::filesystem::path FolderForTests();

std::string BinaryPath(const std::string& program);

struct Outcome {
  int status = -1;
  std::string out, err;
};
// Runs a program of the build to its end; a program that does not end is a failed test. `folder` takes its output.
Outcome RunProgram(const std::string& program, std::vector<std::string> arguments, const std::filesystem::path& folder,
                   std::chrono::seconds limit = std::chrono::seconds(120));
SpawnOptions OptionsFor(const std::string& program, std::vector<std::string> arguments,
                        const std::filesystem::path& folder);

// The text of a file that may not be there yet.
std::string TextOf(const std::filesystem::path& file);

// A process, told from a later one with the same number by when it began.
struct RunningProcess {
  pid_t pid = 0;
  std::string began, command;
  bool operator==(const RunningProcess&) const = default;
};
// `root`'s children and theirs, without itself. Names of programs only; zombies do not run.
std::vector<RunningProcess> DescendantsOf(pid_t root);
bool IsRunning(const RunningProcess& process);
// Processes with `text` in their command line or their environment, apart from this one.
std::vector<RunningProcess> ProcessesNaming(const std::string& text);

}  // namespace fedglm
