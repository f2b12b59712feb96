#include "aggregator/updates/spool.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "base/file.h"

namespace fedglm {

absl::StatusOr<std::unique_ptr<Spool>> Spool::Open(const std::filesystem::path& folder) {
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(folder, 0700));
  return std::unique_ptr<Spool>(new Spool(folder));
}

// Update ids are digests made here: they are safe as file names.
std::filesystem::path Spool::Path(const std::string& update_id) const { return folder_ / (update_id + ".update"); }

uint64_t Spool::Received(const std::string& update_id) const {
  std::error_code error;
  const uint64_t bytes = std::filesystem::file_size(Path(update_id), error);
  return error ? 0 : bytes;
}

absl::StatusOr<std::unique_ptr<SpoolWriter>> Spool::Begin(const std::string& update_id, uint64_t offset) {
  {
    MutexLock lock(mutex_);
    if (!active_.insert(update_id).second) return absl::AbortedError("another transfer of this update is going on");
  }
  std::unique_ptr<SpoolWriter> writer(new SpoolWriter(*this, update_id, offset));
  if (offset > Received(update_id)) return UsageError("the offset is beyond what was received");
  return writer;
}

void Spool::Remove(const std::string& update_id) const {
  std::error_code ignored;
  std::filesystem::remove(Path(update_id), ignored);
}

void Spool::RemoveAllBut(const std::set<std::string>& update_ids) const {
  std::set<std::filesystem::path> kept;
  for (const std::string& update_id : update_ids) kept.insert(Path(update_id));
  std::error_code ignored;
  std::vector<std::filesystem::path> left;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, ignored)) {
    if (kept.count(entry.path()) == 0) left.push_back(entry.path());
  }
  for (const std::filesystem::path& path : left) std::filesystem::remove(path, ignored);
}

void Spool::End(const std::string& update_id) {
  MutexLock lock(mutex_);
  active_.erase(update_id);
}

SpoolWriter::~SpoolWriter() {
  if (file_ >= 0) {
    (void)Sync();
    close(file_);
  }
  spool_.End(update_id_);
}

absl::Status SpoolWriter::Open() {
  const std::filesystem::path path = spool_.Path(update_id_);
  file_ = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (file_ < 0) return ErrnoError(path.string(), errno);
  // It may have been removed since the transfer began, and a hole must not stand in for what was there.
  if (spool_.Received(update_id_) < bytes_) return absl::AbortedError("what was received before is gone: begin again");
  if (ftruncate(file_, static_cast<off_t>(bytes_)) != 0 || lseek(file_, 0, SEEK_END) < 0) {
    return ErrnoError(path.string(), errno);
  }
  return SyncDirectory(spool_.folder_);  // the name must outlive a power failure as the bytes do
}

absl::Status SpoolWriter::Append(std::string_view bytes) {
  if (file_ < 0) FEDGLM_RETURN_IF_ERROR(Open());
  struct stat now;
  if (fstat(file_, &now) != 0) return ErrnoError("the spool", errno);
  if (now.st_nlink == 0) return absl::AbortedError("what was received before is gone: begin again");
  while (!bytes.empty()) {
    const ssize_t written = write(file_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoError("the spool", errno);
    bytes_ += static_cast<uint64_t>(written);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status SpoolWriter::Sync() {
  return file_ < 0 || fdatasync(file_) == 0 ? absl::OkStatus() : ErrnoError("the spool", errno);
}

}  // namespace fedglm
