// Which tensor of a checkpoint becomes which of the GGUF, checked before anything is written.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "inference/import/checkpoint_config.h"
#include "inference/import/safetensors_shards.h"

namespace fedglm {

struct PlannedTensor {
  std::string name;                     // GGUF's
  const ShardTensor* source = nullptr;  // in the shards; nullptr: `values`
  std::vector<float> values;            // of a vector that is computed
  int dimensions = 1;
  int64_t rows = 1, columns = 0;
  // The checkpoint's row that is row i of the GGUF; empty: the same. Q and K, see LinearModule::gguf_row_of.
  std::vector<int32_t> source_rows;

  // Row `row` of the GGUF, values[columns]. Thread-safe.
  void ReadRow(int64_t row, float* out) const;
};

// In the order in which they are written. BadFile if a tensor is missing, has another shape than the configuration
// says or is no float, and for one that the forward pass would leave out: a model with, say, norms on its queries
// would give other numbers in silence. Left out on purpose: the vision part of glm4v, and rotary frequencies that old
// checkpoints store.
absl::StatusOr<std::vector<PlannedTensor>> PlanTensors(const CheckpointConfig& config, const SafetensorsShards& shards);

}  // namespace fedglm
