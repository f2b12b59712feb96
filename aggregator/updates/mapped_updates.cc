#include "aggregator/updates/mapped_updates.h"

#include <utility>

#include "base/digest.h"

namespace fedglm {

absl::Status MappedUpdates::Add(const std::filesystem::path& safetensors, const std::string& sha256, int64_t weight) {
  Update update;
  update.weight = weight;
  FEDGLM_ASSIGN_OR_RETURN(update.file, MappedFile::Open(safetensors));
  const std::string_view bytes = AsText(update.file.bytes());
  if (Sha256Hex(bytes) != sha256) return BadFileError(safetensors.string() + ": other bytes than were accepted");
  FEDGLM_ASSIGN_OR_RETURN(update.tensors, SafetensorsView::Parse(bytes, safetensors.string()));
  updates_.push_back(std::move(update));
  return absl::OkStatus();
}

absl::Status MappedUpdates::Read(size_t update, const std::string& tensor, std::span<float> values) const {
  FEDGLM_RETURN_IF_ERROR(updates_[update].tensors.Read(tensor, values));
  return updates_[update].file.CheckIntact();
}

}  // namespace fedglm
