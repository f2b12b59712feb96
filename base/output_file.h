// A file that is written in pieces, for what is too large to be held in memory first. What is at its path stays as it
// was until Finish() puts the whole new file in its place.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "base/status.h"

namespace fedglm {

// Errors name the path. Not thread-safe.
class OutputFile {
 public:
  // The pieces go to a temporary file beside `path`. Failed if it cannot be made, and if there is something at `path`
  // that is no regular file: renaming over /dev/null would put a file in the device's place.
  static absl::StatusOr<OutputFile> Create(const std::filesystem::path& path);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&& other) noexcept;
  ~OutputFile();  // without Finish(): the temporary file is removed

  absl::Status Append(std::span<const std::byte> bytes);
  // Syncs the pieces and renames them to `path`.
  absl::Status Finish();

 private:
  OutputFile() = default;
  absl::Status Error(int error_number) const;

  std::filesystem::path path_;
  std::string temporary_;  // empty: none
  int fd_ = -1;
};

}  // namespace fedglm
