#include "aggregator/updates/update_file.h"

#include <sys/mman.h>

#include <algorithm>
#include <vector>

#include "base/digest.h"

namespace fedglm {

absl::StatusOr<UpdateFile> UpdateFile::Open(const std::filesystem::path& safetensors) {
  UpdateFile update;
  FEDGLM_ASSIGN_OR_RETURN(update.file_, MappedFile::Open(safetensors));
  return update;
}

absl::StatusOr<std::string> UpdateFile::Sha256() const {
  const std::string_view bytes = AsText(file_.bytes());
  fedglm::Sha256 hash;
  for (size_t at = 0; at < bytes.size(); at += kPieceBytes) {
    hash.Update(bytes.substr(at, kPieceBytes));
    GiveBack();
  }
  FEDGLM_RETURN_IF_ERROR(file_.CheckIntact());
  return HexEncode(hash.Finish());
}

absl::Status UpdateFile::Parse(const std::string& what) {
  FEDGLM_ASSIGN_OR_RETURN(tensors_, SafetensorsView::Parse(AsText(file_.bytes()), what));
  GiveBack();
  return file_.CheckIntact();
}

absl::Status UpdateFile::Read(const std::string& tensor, std::span<float> values) const {
  FEDGLM_RETURN_IF_ERROR(tensors_.Read(tensor, values));
  GiveBack();
  return file_.CheckIntact();
}

absl::Status UpdateFile::Visit(const SafetensorsView::Tensor& tensor,
                               const std::function<absl::Status(std::span<const float> values)>& visit) const {
  const auto count = static_cast<size_t>(tensor.rows) * static_cast<size_t>(tensor.columns);
  if (count == 0) return absl::OkStatus();
  const size_t value_bytes = tensor.bytes.size() / count;
  std::vector<float> values(std::min(count, kPieceBytes / value_bytes));
  for (size_t at = 0; at < count; at += values.size()) {
    values.resize(std::min(values.size(), count - at));
    const std::string_view piece = tensor.bytes.substr(at * value_bytes, values.size() * value_bytes);
    tensor.convert(piece.data(), values.size(), values.data());
    GiveBack();
    FEDGLM_RETURN_IF_ERROR(visit(values));
  }
  return file_.CheckIntact();
}

// Pages that were read count as this process's memory until they are given back. They are still the machine's cache of
// the file. All of it is given back: with a page the kernel maps what it has beside it, up to 2 MiB and on both sides.
void UpdateFile::GiveBack() const {
  const std::span<const std::byte> bytes = file_.bytes();
  if (!bytes.empty()) madvise(const_cast<std::byte*>(bytes.data()), bytes.size(), MADV_DONTNEED);
}

}  // namespace fedglm
