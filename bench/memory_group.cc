#include "bench/memory_group.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <string>
#include <utility>

namespace fedglm::bench {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRoot = "/sys/fs/cgroup";

// Control files are written with one write() each.
int WriteControl(const fs::path& file, const std::string& value) {
  const int fd = open(file.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  const int error = write(fd, value.data(), value.size()) == static_cast<ssize_t>(value.size()) ? 0 : errno;
  close(fd);
  return error;
}

bool Version2HasMemory() {
  std::ifstream file(fs::path(kRoot) / "cgroup.controllers");
  for (std::string controller; file >> controller;) {
    if (controller == "memory") return true;
  }
  return false;
}

}  // namespace

absl::StatusOr<MemoryGroup> MemoryGroup::Create(uint64_t limit_bytes) {
  const bool version2 = Version2HasMemory();
  const fs::path parent = version2 ? fs::path(kRoot) : fs::path(kRoot) / "memory";
  if (version2) WriteControl(parent / "cgroup.subtree_control", "+memory");  // refused if it is on already: no matter
  const fs::path folder = parent / ("fedglm-bench-" + std::to_string(getpid()));
  if (mkdir(folder.c_str(), 0755) != 0) {
    return RefusedError("cannot make a control group to limit memory in: " +
                        Message(ErrnoError(folder.string(), errno)));
  }
  MemoryGroup group(folder);
  const fs::path file = folder / (version2 ? "memory.max" : "memory.limit_in_bytes");
  if (const int error = WriteControl(file, std::to_string(limit_bytes)); error != 0) {
    return RefusedError("cannot limit memory: " + Message(ErrnoError(file.string(), error)));
  }
  // No file where the kernel does not account swap.
  if (version2) {
    WriteControl(folder / "memory.swap.max", "0");
  } else {
    WriteControl(folder / "memory.swappiness", "0");
  }
  return group;
}

MemoryGroup::MemoryGroup(MemoryGroup&& other) noexcept : folder_(std::exchange(other.folder_, {})) {}

MemoryGroup::~MemoryGroup() {
  if (!folder_.empty()) rmdir(folder_.c_str());
}

std::vector<std::string> InMemoryGroup(const std::filesystem::path& group, std::vector<std::string> command) {
  if (group.empty()) return command;
  const std::string join = "echo $$ > \"$0\" || exit " + std::to_string(kCannotJoinGroup) + "; exec \"$@\"";
  std::vector<std::string> shell = {"/bin/sh", "-c", join, (group / "cgroup.procs").string()};
  shell.insert(shell.end(), command.begin(), command.end());
  return shell;
}

}  // namespace fedglm::bench
