#include "aggregator/spool.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

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
  const std::filesystem::path path = Path(update_id);
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) {
    const int error = errno;
    End(update_id);
    return ErrnoError(path.string(), error);
  }
  std::unique_ptr<SpoolWriter> writer(new SpoolWriter(*this, update_id, file, offset));
  if (offset > Received(update_id)) return UsageError("the offset is beyond what was received");
  if (ftruncate(file, static_cast<off_t>(offset)) != 0 || lseek(file, 0, SEEK_END) < 0) return ErrnoError(path.string(), errno);
  return writer;
}

absl::StatusOr<std::string> Spool::Read(const std::string& update_id) const {
  return ReadFile(Path(update_id), uint64_t{1} << 34);
}

void Spool::Remove(const std::string& update_id) const {
  std::error_code ignored;
  std::filesystem::remove(Path(update_id), ignored);
}

void Spool::End(const std::string& update_id) {
  MutexLock lock(mutex_);
  active_.erase(update_id);
}

SpoolWriter::~SpoolWriter() {
  (void)Sync();
  close(file_);
  spool_.End(update_id_);
}

absl::Status SpoolWriter::Append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(file_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoError("the spool", errno);
    bytes_ += static_cast<uint64_t>(written);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status SpoolWriter::Sync() { return fdatasync(file_) == 0 ? absl::OkStatus() : ErrnoError("the spool", errno); }

}  // namespace fedglm
