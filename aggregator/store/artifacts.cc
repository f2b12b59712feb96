#include "aggregator/store/artifacts.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include "base/digest.h"

namespace fedglm {
namespace {

// A file without its name yet, which is removed unless it gets one.
class PartialFile {
 public:
  static absl::StatusOr<PartialFile> Make(const std::filesystem::path& folder) {
    PartialFile file;
    file.path_ = (folder / "new.XXXXXX").string();
    file.file_ = mkostemp(file.path_.data(), O_CLOEXEC);  // 0600
    if (file.file_ < 0) return Failed(file.path_);
    return file;
  }
  PartialFile(PartialFile&& other) noexcept : path_(std::move(other.path_)), file_(std::exchange(other.file_, -1)) {}
  PartialFile& operator=(PartialFile&&) = delete;
  ~PartialFile() {
    if (file_ < 0) return;
    close(file_);
    unlink(path_.c_str());
  }
  absl::Status Append(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t written = write(file_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return Failed(path_);
      bytes.remove_prefix(static_cast<size_t>(written));
    }
    return absl::OkStatus();
  }
  // Synced, then renamed: there is the whole of it under that name, or nothing.
  absl::Status Become(const std::filesystem::path& path) {
    if (fsync(file_) != 0 || rename(path_.c_str(), path.c_str()) != 0) return Failed(path.string());
    close(std::exchange(file_, -1));
    return SyncDirectory(path.parent_path());
  }

 private:
  PartialFile() = default;
  static absl::Status Failed(const std::string& path) { return FailedError(Message(ErrnoError(path, errno))); }
  std::string path_;
  int file_ = -1;
};

}  // namespace

absl::StatusOr<Artifacts> Artifacts::Open(const std::filesystem::path& folder) {
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(folder, 0700));
  return Artifacts(folder);
}

absl::StatusOr<std::string> Artifacts::Put(std::string_view bytes) const {
  std::string sha256 = Sha256Hex(bytes);
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(folder_ / sha256, bytes, 0600));
  return sha256;
}

absl::StatusOr<std::string> Artifacts::PutStreamed(const std::function<absl::Status(const Sink& sink)>& write) const {
  FEDGLM_ASSIGN_OR_RETURN(PartialFile file, PartialFile::Make(folder_));
  Sha256 hash;
  FEDGLM_RETURN_IF_ERROR(write([&](std::string_view bytes) {
    hash.Update(bytes);
    return file.Append(bytes);
  }));
  std::string sha256 = HexEncode(hash.Finish());
  FEDGLM_RETURN_IF_ERROR(file.Become(folder_ / sha256));
  return sha256;
}

absl::StatusOr<MappedFile> Artifacts::Map(const std::string& sha256) const {
  FEDGLM_ASSIGN_OR_RETURN(const std::filesystem::path path, Find(sha256));
  FEDGLM_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  if (Sha256Hex(AsText(file.bytes())) == sha256) return file;
  return FailedError(path.string() + ": its content is not what its name says");
}

absl::StatusOr<std::filesystem::path> Artifacts::Find(const std::string& sha256) const {
  std::error_code ignored;
  if (!IsSha256Hex(sha256) || !std::filesystem::exists(folder_ / sha256, ignored))
    return RefusedError("no such artifact");
  return folder_ / sha256;
}

absl::StatusOr<std::string> Artifacts::Read(const std::string& sha256) const {
  FEDGLM_ASSIGN_OR_RETURN(const std::filesystem::path path, Find(sha256));
  FEDGLM_ASSIGN_OR_RETURN(std::string bytes, ReadFile(path, uint64_t{1} << 34));
  if (Sha256Hex(bytes) != sha256) return FailedError(path.string() + ": its content is not what its name says");
  return bytes;
}

absl::StatusOr<uint64_t> Artifacts::Bytes(const std::string& sha256) const {
  FEDGLM_ASSIGN_OR_RETURN(const std::filesystem::path path, Find(sha256));
  std::error_code error;
  const uint64_t bytes = std::filesystem::file_size(path, error);
  if (error) return FailedError(path.string() + ": " + error.message());
  return bytes;
}

void Artifacts::RemoveAllBut(const std::string& sha256) const {
  std::error_code ignored;
  std::vector<std::filesystem::path> left;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, ignored)) {
    if (entry.path().filename() != sha256) left.push_back(entry.path());
  }
  for (const std::filesystem::path& path : left) std::filesystem::remove(path, ignored);
}

}  // namespace fedglm
