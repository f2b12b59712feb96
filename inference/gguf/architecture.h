// What a GGUF model is: hyperparameters, checked against the tensors' shapes, and the table of its linear layers under
// both of their names (GGUF's and Hugging Face's). The engine and the trainer both build their forward pass from this.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "inference/gguf/gguf_file.h"

namespace fedglm {

enum class ArchitectureKind { kGlm4, kLlama };

// Which of a head's rotated components form a pair: (2i, 2i+1), or (i, i + rotary/2).
enum class RotaryLayout { kInterleaved, kNeox };

struct Hyperparameters {
  ArchitectureKind kind = ArchitectureKind::kGlm4;
  std::string name;  // general.name
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
};

// Reads and validates: every tensor that the forward pass needs is there with the shape that the hyperparameters say,
// and no other. BadFile for an unknown architecture, a missing key, or a tensor that does not fit. Supported: "glm4"
// (sandwich norms, fused gate-up, partial rotary; M-RoPE sections make the layout kNeox), "llama" (GQA, optional
// rope_freqs.weight, optional tied embeddings and biases).
absl::StatusOr<Hyperparameters> ReadHyperparameters(const GgufFile& file);

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
  // Face's order. Empty: the same order. Only Q and K: `llama` (interleaved in GGUF, half-split in HF) and `glm4` with
  // M-RoPE (half-split in GGUF, interleaved in HF, over the rotary part of each head).
  std::vector<int32_t> gguf_row_of;
};

// All linear layers, layer by layer, in the order q k v o, then gate/up/down (glm4: gate_up_proj is GGUF's ffn_up,
// fused).
std::vector<LinearModule> LinearModules(const Hyperparameters& hyperparameters);

}  // namespace fedglm
