// Which block type each tensor of a quantized model gets: llama.cpp's mixes under llama.cpp's names, so that a Q4_K_M
// of ours has the types, the size and the expectations of everybody else's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "inference/quantization/block_type.h"

namespace fedglm {

struct QuantizationMix {
  std::string_view name;  // "Q4_K_M"
  BlockType type;         // of most matrices
  uint32_t file_type;     // general.file_type, as llama.cpp numbers them: on disk, never to be changed
};

// F32 F16 BF16 Q8_0 Q6_K Q5_K_M Q5_K_S Q5_1 Q5_0 Q4_K_M Q4_K_S Q4_1 Q4_0 IQ4_NL IQ4_XS Q3_K_L Q3_K_M Q3_K_S Q2_K, upper
// or lower case; Q3_K, Q4_K and Q5_K are their M. UsageError for another name.
absl::StatusOr<QuantizationMix> QuantizationMixFromName(std::string_view name);
// All names, largest first.
std::vector<std::string_view> QuantizationMixNames();

// What the choice depends on, beside the tensor itself.
struct MixedModel {
  int64_t layers = 0;
  int64_t queries_per_kv_head = 1;
  bool tied_embeddings = false;  // the token embedding is the output head as well
  bool calibrated = false;       // there is an importance for the columns
};

struct MixedTensor {
  std::string_view name;  // GGUF's
  int dimensions = 0;
  int64_t columns = 0;
};

// Norms and biases are float32. A matrix whose rows the blocks of its type do not divide gets a type that is finer and
// divides them: of 32 weights instead of 256, at last F16.
BlockType TypeInMix(const QuantizationMix& mix, const MixedTensor& tensor, const MixedModel& model);

}  // namespace fedglm
