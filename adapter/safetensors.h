// The safetensors format: 8 bytes of header length, a JSON header, the tensors' bytes. Read F32, F16 and BF16 as
// float32; written as F32. https://github.com/huggingface/safetensors#format
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "adapter/adapter.h"
#include "base/status.h"

namespace fedglm {

struct SafetensorsFile {
  std::map<std::string, Matrix> tensors;        // one-dimensional ones as a single row
  std::map<std::string, std::string> metadata;  // "__metadata__"
};

// What is in such a file, and where: tensors are read one at a time. The bytes outlive it.
class SafetensorsView {
 public:
  struct Tensor {
    int64_t rows = 0, columns = 0;  // a one-dimensional one is a single row
    std::string_view bytes;
    void (*convert)(const char* from, size_t count, float* to) = nullptr;  // from the file's type
  };
  // Errors of ParseSafetensors.
  static absl::StatusOr<SafetensorsView> Parse(std::string_view bytes, std::string_view what);

  const std::map<std::string, Tensor>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // The values, row by row. BadFile if there is no tensor of that name, or one of another size.
  absl::Status Read(const std::string& name, std::span<float> values) const;

 private:
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

// BadFile for anything malformed: ranges outside the file or overlapping, shapes that contradict them, other types.
absl::StatusOr<SafetensorsFile> ParseSafetensors(std::string_view bytes, std::string_view what);

// Where bytes go as they are made. An error of it ends the writing.
using ByteSink = std::function<absl::Status(std::string_view bytes)>;

// The bytes of SerializeSafetensors, tensor by tensor: there is no copy of them in memory.
absl::Status WriteSafetensors(const std::map<std::string, const Matrix*>& tensors,
                              const std::map<std::string, std::string>& metadata, const ByteSink& sink);

// The same tensors and metadata give the same bytes.
std::string SerializeSafetensors(const std::map<std::string, Matrix>& tensors,
                                 const std::map<std::string, std::string>& metadata);

}  // namespace fedglm
