// Files: read with a bound, write atomically, map read-only. All errors name the path.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "base/mapping_guard.h"
#include "base/status.h"

namespace fedglm {

// The whole file. NotFound if it is not there, BadFile if it is larger than `max_bytes` or not a regular file.
absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path, uint64_t max_bytes = uint64_t{1} << 30);

// Writes to a temporary file beside `path`, syncs it, renames it over `path`, syncs the folder: after a crash or a
// full disk there is the old content or the new, never a part. `mode` is the new file's permission bits.
absl::Status WriteFileAtomically(const std::filesystem::path& path, std::string_view contents, int mode = 0644);

// The same for a file that is not there yet, in a folder that is made if need be. Failed if something is there.
absl::Status WriteNewFile(const std::filesystem::path& path, std::string_view contents);

// mkdir -p, with permission bits for the folders it makes.
absl::Status MakeDirectories(const std::filesystem::path& path, int mode = 0755);

// Makes a folder's content durable (fsync on the folder).
absl::Status SyncDirectory(const std::filesystem::path& path);

// Replaces folder `to` by folder `from` (same file system), so that a reader sees the old one or the new one.
absl::Status ReplaceDirectory(const std::filesystem::path& from, const std::filesystem::path& to);

// A read-only view of a file's bytes in the page cache. Moved, not copied; unmapped when destroyed. Thread-safe.
// If the file shrinks meanwhile, or its disk fails, what is gone reads as zeros and CheckIntact() says so.
class MappedFile {
 public:
  static absl::StatusOr<MappedFile> Open(const std::filesystem::path& path);
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }
  // BadFile if some of the bytes could not be read. To be asked after a computation over them; costs a load.
  absl::Status CheckIntact() const;

 private:
  void Unmap();
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::filesystem::path path_;
  MappingGuard guard_;
};

// A folder of its own below the system's temporary folder, removed with its content when destroyed.
class TemporaryDirectory {
 public:
  static absl::StatusOr<TemporaryDirectory> Make(std::string_view prefix = "fedglm");
  TemporaryDirectory(TemporaryDirectory&& other) noexcept;
  TemporaryDirectory& operator=(TemporaryDirectory&& other) noexcept;
  ~TemporaryDirectory();
  const std::filesystem::path& path() const { return path_; }

 private:
  explicit TemporaryDirectory(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

}  // namespace fedglm
