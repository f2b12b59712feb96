// Writes a GGUF v3 file: metadata first, then tensors streamed in the order they were declared, atomically renamed into
// place by Finish(). Memory stays bounded by one tensor's rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "inference/gguf/gguf_file.h"

namespace fedglm {

// For what rewrites a model: called after each tensor with how many are done; an error ends the work and leaves no
// output.
using TensorProgress = std::function<absl::Status(int64_t tensors_done, const std::string& name)>;

class GgufWriter {
 public:
  static absl::StatusOr<std::unique_ptr<GgufWriter>> Create(const std::filesystem::path& path);
  ~GgufWriter();  // without Finish(): the temporary file is removed

  // Before the first tensor's bytes. Typed as GGUF wants them.
  void AddString(std::string_view key, std::string_view value);
  void AddUint32(std::string_view key, uint32_t value);
  void AddFloat32(std::string_view key, float value);
  void AddBool(std::string_view key, bool value);
  void AddStrings(std::string_view key, const std::vector<std::string>& values);
  void AddInt32s(std::string_view key, const std::vector<int32_t>& values);
  // Copies key and value bytes as they are in another file (all types).
  absl::Status CopyMetadata(const GgufFile& from, std::string_view key);

  // extent as in GgufTensor. All tensors are declared before the first Append.
  void DeclareTensor(std::string_view name, BlockType type, std::span<const int64_t> extent);
  // The next bytes of the tensors' data, in declaration order; padding between tensors is added here.
  absl::Status Append(std::span<const std::byte> bytes);
  // Checks that every declared byte was given; syncs and renames.
  absl::Status Finish();

 private:
  struct State;
  explicit GgufWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fedglm
