// A GGUF v2/v3 model file, memory-mapped read-only and validated before anything is allocated for it: after Open(),
// every tensor lies inside the file, aligned, with a known type and a row length that its blocks divide. What a file
// declares is checked against the bytes that it has, and against a budget of 48 MiB for metadata and tensor names
// together.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "inference/quantization/block_type.h"
#include "inference/quantization/weight_matrix.h"

namespace fedglm {

struct GgufArray;

// GGUF integers of any width are held as int64_t or uint64_t, floats as double.
using GgufValue = std::variant<uint64_t, int64_t, double, bool, std::string, std::shared_ptr<const GgufArray>>;

struct GgufArray {
  // One of these is filled, by the element type. Arrays of arrays are refused.
  std::vector<std::string> strings;
  std::vector<int64_t> integers;  // also bools
  std::vector<double> numbers;
};

struct GgufTensor {
  std::string name;
  BlockType type;
  int dimensions = 0;
  std::array<int64_t, 4> extent = {1, 1, 1, 1};  // GGUF order: [0] is the row length (columns)
  std::span<const std::byte> bytes;              // in the mapping

  int64_t columns() const { return extent[0]; }
  int64_t rows() const { return extent[1] * extent[2] * extent[3]; }
  WeightMatrix AsMatrix() const { return {type, bytes.data(), rows(), columns()}; }
};

// Immutable after Open; thread-safe. Tensors' bytes live as long as the file.
class GgufFile {
 public:
  // BadFile with a one-line reason for anything malformed, also if the file shrinks meanwhile; NotFound if it is not
  // there.
  static absl::StatusOr<std::shared_ptr<const GgufFile>> Open(const std::filesystem::path& path);
  // The same over bytes in memory (tests, fuzzers); `bytes` must outlive the result.
  static absl::StatusOr<std::shared_ptr<const GgufFile>> Parse(std::span<const std::byte> bytes, std::string name);

  const std::filesystem::path& path() const { return path_; }
  uint64_t file_bytes() const { return bytes_.size(); }
  std::span<const std::byte> bytes() const { return bytes_; }  // the whole file, as it is mapped
  uint32_t version() const { return version_; }
  uint64_t alignment() const { return alignment_; }
  // BadFile if the file became shorter since Open, or its disk failed: what is gone reads as zeros, so that nothing
  // computed from the tensors is worth anything. To be asked after each computation over them; costs a load.
  absl::Status CheckIntact() const { return mapping_.CheckIntact(); }

  // In file order.
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const GgufTensor* FindTensor(std::string_view name) const;  // nullptr if absent
  absl::StatusOr<const GgufTensor*> RequireTensor(std::string_view name) const;

  // Metadata; keys in file order.
  const std::vector<std::pair<std::string, GgufValue>>& metadata() const { return metadata_; }
  const GgufValue* FindValue(std::string_view key) const;
  absl::StatusOr<std::string> RequireString(std::string_view key) const;
  absl::StatusOr<int64_t> RequireInteger(std::string_view key) const;
  std::string StringOr(std::string_view key, std::string fallback) const;
  int64_t IntegerOr(std::string_view key, int64_t fallback) const;
  double NumberOr(std::string_view key, double fallback) const;
  bool BoolOr(std::string_view key, bool fallback) const;
  const GgufArray* FindArray(std::string_view key) const;  // nullptr if absent or not an array
  // The value as it lies in the file: its type number (uint32) and its bytes. Empty if absent.
  std::span<const std::byte> RawValue(std::string_view key) const;

 private:
  GgufFile() = default;
  std::filesystem::path path_;
  MappedFile mapping_;
  std::span<const std::byte> bytes_;
  uint32_t version_ = 0;
  uint64_t alignment_ = 32;
  std::vector<GgufTensor> tensors_;
  std::map<std::string, size_t, std::less<>> tensor_index_;
  std::vector<std::pair<std::string, GgufValue>> metadata_;
  std::vector<std::span<const std::byte>> raw_metadata_;
  std::map<std::string, size_t, std::less<>> metadata_index_;
  friend class GgufParser;
};

}  // namespace fedglm
