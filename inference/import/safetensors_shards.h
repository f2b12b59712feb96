// The weights of a Hugging Face checkpoint folder: model.safetensors, or the shards that model.safetensors.index.json
// names. All are memory-mapped and validated before a weight is read; nothing is copied.
// https://github.com/huggingface/safetensors#format
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/status.h"

namespace fedglm {

struct ShardTensor {
  std::string element_type;          // "BF16", as safetensors spells it
  std::vector<int64_t> shape;        // outermost first
  std::span<const std::byte> bytes;  // in the mapping; as many as the shape says

  int64_t columns() const { return shape.empty() ? 1 : shape.back(); }
  int64_t rows() const;
  // True for F32, F16 and BF16: what ReadRow can read.
  bool IsFloat() const;
  // Row `row` as float32, values[columns]. Needs IsFloat().
  void ReadRow(int64_t row, float* values) const;
};

// Immutable; thread-safe. Moved, not copied. The tensors' bytes live as long as it does.
class SafetensorsShards {
 public:
  // BadFile for anything malformed: a header that does not fit the file, shapes whose bytes are not the declared ones
  // or overflow, ranges that overlap or leave gaps, a tensor that is there twice, an index that names what is not
  // there or leads out of the folder. NotFound if there is neither file.
  static absl::StatusOr<SafetensorsShards> Open(const std::filesystem::path& folder);

  const std::map<std::string, ShardTensor, std::less<>>& tensors() const { return tensors_; }
  const ShardTensor* Find(std::string_view name) const;  // nullptr if absent
  // As MappedFile::CheckIntact, of all files: to be asked after what was computed from the tensors.
  absl::Status CheckIntact() const;

 private:
  absl::Status AddFile(const std::filesystem::path& path);
  absl::Status AddIndexed(const std::filesystem::path& folder, const std::filesystem::path& index);

  std::vector<MappedFile> files_;
  std::map<std::string, ShardTensor, std::less<>> tensors_;
};

}  // namespace fedglm
