#include "aggregator/updates/mapped_updates.h"

#include <sys/mman.h>

#include <utility>

#include "base/digest.h"

namespace fedglm {
namespace {

// Pages that were read count as this process's memory until they are given back: the updates of a round, all of them.
// They are still the machine's cache of the file.
void GiveBack(const MappedFile& file) {
  const std::span<const std::byte> bytes = file.bytes();
  if (!bytes.empty()) madvise(const_cast<std::byte*>(bytes.data()), bytes.size(), MADV_DONTNEED);
}

}  // namespace

absl::Status MappedUpdates::Add(const std::filesystem::path& safetensors, const std::string& sha256, int64_t weight) {
  Update update;
  update.weight = weight;
  FEDGLM_ASSIGN_OR_RETURN(update.file, MappedFile::Open(safetensors));
  const std::string_view bytes = AsText(update.file.bytes());
  if (Sha256Hex(bytes) != sha256) return BadFileError(safetensors.string() + ": other bytes than were accepted");
  FEDGLM_ASSIGN_OR_RETURN(update.tensors, SafetensorsView::Parse(bytes, safetensors.string()));
  GiveBack(update.file);
  updates_.push_back(std::move(update));
  return absl::OkStatus();
}

absl::Status MappedUpdates::Read(size_t update, const std::string& tensor, std::span<float> values) const {
  const MappedFile& file = updates_[update].file;
  FEDGLM_RETURN_IF_ERROR(updates_[update].tensors.Read(tensor, values));
  GiveBack(file);
  return file.CheckIntact();
}

}  // namespace fedglm
