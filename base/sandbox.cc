#include "base/sandbox.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "base/log.h"

namespace fedglm {
namespace {

#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif

constexpr uint64_t kRead = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
// What a plain file can be given; the rest belongs to folders.
constexpr uint64_t kOfFiles = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |
                              LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE;

uint64_t AllAccess(int abi) {
  uint64_t access = (1ULL << 13) - 1;  // ABI 1
  if (abi >= 2) access |= LANDLOCK_ACCESS_FS_REFER;
  if (abi >= 3) access |= LANDLOCK_ACCESS_FS_TRUNCATE;
  return access;
}

absl::Status AddRule(int ruleset, const std::filesystem::path& path, uint64_t access) {
  const int file = open(path.c_str(), O_PATH | O_CLOEXEC);
  if (file < 0) return errno == ENOENT ? absl::OkStatus() : ErrnoError(path.string(), errno);
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored)) access &= kOfFiles;
  landlock_path_beneath_attr rule = {};
  rule.allowed_access = access;
  rule.parent_fd = file;
  const long result = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
  const int error = errno;
  close(file);
  return result == 0 ? absl::OkStatus() : ErrnoError("landlock: " + path.string(), error);
}

absl::Status WriteProcFile(const char* path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.flush();
  return file ? absl::OkStatus() : FailedError(std::string(path) + " cannot be written");
}

}  // namespace

absl::Status ForbidSockets() {
  const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  if (filter == nullptr) return FailedError("seccomp is not available");
  int error = 0;
  const uint32_t refuse = SCMP_ACT_ERRNO(EPERM);
  for (const int call : {SCMP_SYS(socket), SCMP_SYS(socketpair), SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(listen),
                         SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(io_uring_setup), SCMP_SYS(ptrace),
                         SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(pidfd_getfd)}) {
    error = error != 0 ? error : seccomp_rule_add(filter, refuse, call, 0);
  }
  // An address makes sendto() a way out of an unconnected socket; without one it is write().
  error = error != 0 ? error : seccomp_rule_add(filter, refuse, SCMP_SYS(sendto), 1, SCMP_A4(SCMP_CMP_NE, 0));
  // For every thread, also those that a library has started already.
  error = error != 0 ? error : seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
  error = error != 0 ? error : seccomp_load(filter);
  seccomp_release(filter);
  return error == 0 ? absl::OkStatus() : FailedError(std::string("seccomp: ") + std::strerror(-error));
}

absl::Status EnterEmptyNetworkNamespace() {
  const uid_t user = getuid();
  const gid_t group = getgid();
  if (unshare(CLONE_NEWNET) == 0) return absl::OkStatus();  // privileged: no user namespace is needed
  if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return ErrnoError("a network namespace of its own", errno);
  FEDGLM_RETURN_IF_ERROR(WriteProcFile("/proc/self/setgroups", "deny"));
  FEDGLM_RETURN_IF_ERROR(WriteProcFile("/proc/self/uid_map", std::to_string(user) + " " + std::to_string(user) + " 1"));
  return WriteProcFile("/proc/self/gid_map", std::to_string(group) + " " + std::to_string(group) + " 1");
}

absl::Status GiveUpNetwork() {
  if (const absl::Status status = EnterEmptyNetworkNamespace(); !status.ok()) {
    LogInfo("no network namespace of its own (" + Message(status) + "); seccomp alone forbids sockets");
  }
  return ForbidSockets();
}

absl::Status RestrictFilesystem(const FilesystemRules& rules) {
  const int abi = static_cast<int>(syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION));
  if (abi < 1) return ErrnoError("Landlock", errno);
  landlock_ruleset_attr attributes = {};
  attributes.handled_access_fs = AllAccess(abi);
  const int ruleset = static_cast<int>(syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0));
  if (ruleset < 0) return ErrnoError("Landlock", errno);
  absl::Status status;
  for (const std::filesystem::path& path : rules.readable) {
    if (status.ok()) status = AddRule(ruleset, path, kRead & AllAccess(abi));
  }
  for (const std::filesystem::path& path : rules.writable) {
    if (status.ok()) status = AddRule(ruleset, path, AllAccess(abi));
  }
  if (status.ok() && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) status = ErrnoError("no_new_privs", errno);
  if (status.ok() && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0) status = ErrnoError("Landlock", errno);
  close(ruleset);
  return status;
}

}  // namespace fedglm
