#include "aggregator/store/artifacts.h"

#include <vector>

#include "base/digest.h"
#include "base/file.h"

namespace fedglm {

absl::StatusOr<Artifacts> Artifacts::Open(const std::filesystem::path& folder) {
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(folder, 0700));
  return Artifacts(folder);
}

absl::StatusOr<std::string> Artifacts::Put(std::string_view bytes) const {
  std::string sha256 = Sha256Hex(bytes);
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(folder_ / sha256, bytes, 0600));
  return sha256;
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
