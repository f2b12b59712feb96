#include "aggregator/updates/mapped_updates.h"

#include <utility>

namespace fedglm {

absl::Status MappedUpdates::Add(const std::filesystem::path& safetensors, const std::string& sha256, int64_t weight) {
  FEDGLM_ASSIGN_OR_RETURN(UpdateFile file, UpdateFile::Open(safetensors));
  FEDGLM_ASSIGN_OR_RETURN(const std::string found, file.Sha256());
  if (found != sha256) return BadFileError(safetensors.string() + ": other bytes than were accepted");
  FEDGLM_RETURN_IF_ERROR(file.Parse(safetensors.string()));
  updates_.push_back({std::move(file), weight});
  return absl::OkStatus();
}

absl::Status MappedUpdates::Read(size_t update, const std::string& tensor, std::span<float> values) const {
  return updates_[update].file.Read(tensor, values);
}

}  // namespace fedglm
