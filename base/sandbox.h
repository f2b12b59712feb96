// What a process gives up, for good and for all its children. Each function says what the kernel could enforce.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/status.h"

namespace fedglm {

// seccomp: socket(), socketpair(), connect(), bind(), listen(), accept(), sendto() with an address and io_uring_setup()
// fail with EPERM from now on; descriptors already open go on working for read() and write(). Error: the kernel has no
// seccomp, or the call was refused.
absl::Status ForbidSockets();

// A new user and network namespace with no interface up. Error where the kernel or a policy forbids it; callers treat
// it as an additional wall and log its absence.
absl::Status EnterEmptyNetworkNamespace();

// Both: the namespace where the kernel allows one (else the log says so), then no sockets. Inherited by all children.
// Error: as ForbidSockets. Call before there are threads.
absl::Status GiveUpNetwork();

struct FilesystemRules {
  std::vector<std::filesystem::path> readable;  // with all below; paths that do not exist are skipped
  std::vector<std::filesystem::path> writable;  // read and write, with all below
};
// Landlock: nothing else can be opened any more. Error where the kernel has no Landlock.
absl::Status RestrictFilesystem(const FilesystemRules& rules);

}  // namespace fedglm
