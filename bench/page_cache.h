// A file's pages in the kernel's page cache: both sides of a comparison begin with the same ones.
#pragma once

#include <filesystem>

#include "base/status.h"

namespace fedglm::bench {

// Reads the whole file once.
absl::Status WarmPageCache(const std::filesystem::path& path);
// Gives the file's pages back. Those that another process has mapped stay.
absl::Status DropFromPageCache(const std::filesystem::path& path);
// The share of the file's pages that are in memory, 0 to 1.
absl::StatusOr<double> ResidentShare(const std::filesystem::path& path);

}  // namespace fedglm::bench
