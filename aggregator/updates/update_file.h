// An update as it lies in the spool, mapped: it is read a piece at a time, and what was read is given back at once. So
// no update is ever in memory, however large it is and however many there are.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <span>
#include <string>

#include "adapter/safetensors.h"
#include "base/file.h"
#include "base/status.h"

namespace fedglm {

// Moved, not copied. Thread-safe once it is parsed.
class UpdateFile {
 public:
  // How much of it is read before it is given back; a multiple of every type's size. The kernel may map 2 MiB for it.
  static constexpr size_t kPieceBytes = 1 << 18;

  static absl::StatusOr<UpdateFile> Open(const std::filesystem::path& safetensors);

  // These read all of it. BadFile if it shrinks meanwhile.
  absl::StatusOr<std::string> Sha256() const;
  // Before tensors are read: errors of SafetensorsView::Parse, of what an error is to call it.
  absl::Status Parse(const std::string& what);

  absl::Status CheckIntact() const { return file_.CheckIntact(); }  // as MappedFile's
  size_t size() const { return file_.bytes().size(); }
  const SafetensorsView& tensors() const { return tensors_; }
  // As SafetensorsView::Read.
  absl::Status Read(const std::string& tensor, std::span<float> values) const;
  // `visit(values)` on each piece of a tensor that is there, in its order; the first error ends it.
  absl::Status Visit(const SafetensorsView::Tensor& tensor,
                     const std::function<absl::Status(std::span<const float> values)>& visit) const;

 private:
  void GiveBack() const;
  MappedFile file_;
  SafetensorsView tensors_;
};

}  // namespace fedglm
