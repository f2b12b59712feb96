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
    const std::string_view piece = bytes.substr(at, kPieceBytes);
    hash.Update(piece);
    GiveBack(piece);
  }
  FEDGLM_RETURN_IF_ERROR(file_.CheckIntact());
  return HexEncode(hash.Finish());
}

absl::Status UpdateFile::Parse(const std::string& what) {
  FEDGLM_ASSIGN_OR_RETURN(tensors_, SafetensorsView::Parse(AsText(file_.bytes()), what));
  GiveBack(AsText(file_.bytes()));
  return file_.CheckIntact();
}

absl::Status UpdateFile::Read(const std::string& tensor, std::span<float> values) const {
  FEDGLM_RETURN_IF_ERROR(tensors_.Read(tensor, values));
  GiveBack(tensors_.tensors().at(tensor).bytes);
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
    GiveBack(piece);
    FEDGLM_RETURN_IF_ERROR(visit(values));
  }
  return file_.CheckIntact();
}

// Pages that were read count as this process's memory until they are given back. They are still the machine's cache of
// the file. The kernel maps those around a page with it, on both sides of what was read.
void UpdateFile::GiveBack(std::string_view read) const {
  constexpr size_t kAround = 1 << 16;
  const std::string_view all = AsText(file_.bytes());
  if (read.empty()) return;
  const auto offset = static_cast<size_t>(read.data() - all.data());
  const size_t begin = (offset - std::min(offset, kAround)) / kAround * kAround;
  const size_t end = std::min(all.size(), offset + read.size() + kAround);
  madvise(const_cast<char*>(all.data() + begin), end - begin, MADV_DONTNEED);
}

}  // namespace fedglm
