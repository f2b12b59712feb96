// What a GGUF model is: hyperparameters, checked against the tensors' shapes, and the table of its linear layers under
// both of their names (GGUF's and Hugging Face's). The engine and the trainer both build their forward pass from this.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "inference/gguf/architecture_table.h"
#include "inference/gguf/gguf_file.h"

namespace fedglm {

class GgufWriter;

struct Hyperparameters {
  const Architecture* architecture = nullptr;  // a row of the table; never nullptr in what is read
  std::string name;                            // general.name
  int64_t vocabulary = 0;
  int64_t context_length = 0;  // trained context
  int64_t layers = 0;
  int64_t hidden = 0;        // embedding length
  int64_t feed_forward = 0;  // width after the gate
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_size = 0;    // of keys and queries, and of values
  int64_t rotary_size = 0;  // rotated components of each head
  double rotary_base = 10000.0;
  double rotary_scale = 1.0;  // linear scaling: positions are multiplied by this
  RotaryLayout rotary_layout = RotaryLayout::kInterleaved;
  double rms_epsilon = 1e-5;
  bool tied_embeddings = false;  // no output.weight: the token embedding is used
  bool qkv_bias = false;

  int64_t query_width() const { return heads * head_size; }
  int64_t kv_width() const { return kv_heads * head_size; }
  int64_t up_width() const { return architecture->gate_in_up ? 2 * feed_forward : feed_forward; }
  int64_t Size(Extent extent) const;
};

// Reads and validates: every tensor that the forward pass needs is there with the shape that the hyperparameters say,
// and no other. BadFile for an architecture that is not in the table, a missing key, or a tensor that does not fit.
absl::StatusOr<Hyperparameters> ReadHyperparameters(const GgufFile& file);

// The keys that ReadHyperparameters reads: general.architecture, general.name and the architecture's own; but for
// M-RoPE's sections, which are not in them.
void WriteHyperparameters(const Hyperparameters& hyperparameters, GgufWriter& writer);

// The rotary angle per position of each pair: scale / (base^(2i / rotary_size) * rope_freqs[i]), [rotary_size / 2].
std::vector<double> RotaryFrequencies(const Hyperparameters& hyperparameters, const GgufFile& file);

// A linear layer that an adapter can be attached to.
struct LinearModule {
  int64_t layer;
  std::string gguf_name;  // "blk.0.attn_q.weight"
  std::string peft_name;  // "model.layers.0.self_attn.q_proj"
  std::string target;     // "q_proj": PEFT's target_modules
  int64_t inputs, outputs;
  // gguf_row_of[i]: the row of the GGUF matrix (and so of the adapter's B in the engine) that is row i in Hugging
  // Face's order. Empty: the same order. Only of what is rotated, over the rotary part of each head: `llama`
  // (interleaved in GGUF, half-split in HF) and `glm4` with M-RoPE (half-split in GGUF, interleaved in HF).
  std::vector<int32_t> gguf_row_of;
  bool needs_bias = false;  // Q, K or V of a model that has biases there; others may have one
};

// All linear layers, layer by layer, in the order of the architecture's row.
std::vector<LinearModule> LinearModules(const Hyperparameters& hyperparameters);

}  // namespace fedglm
