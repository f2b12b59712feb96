// The safetensors format: 8 bytes of header length, a JSON header, the tensors' bytes. Read F32, F16 and BF16 as
// float32; written as F32. https://github.com/huggingface/safetensors#format
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "adapter/adapter.h"
#include "base/status.h"

namespace fedglm {

struct SafetensorsFile {
  std::map<std::string, Matrix> tensors;        // one-dimensional ones as a single row
  std::map<std::string, std::string> metadata;  // "__metadata__"
};

// BadFile for anything malformed: ranges outside the file or overlapping, shapes that contradict them, other types.
absl::StatusOr<SafetensorsFile> ParseSafetensors(std::string_view bytes, std::string_view what);

// The same tensors and metadata give the same bytes.
std::string SerializeSafetensors(const std::map<std::string, Matrix>& tensors,
                                 const std::map<std::string, std::string>& metadata);

}  // namespace fedglm
