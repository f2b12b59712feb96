// What tells one model architecture from another: a row each of one table. What reads, imports, runs, trains, measures
// or shows a model asks its row; nothing else knows an architecture by its name. A new architecture is a new row.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/status.h"

namespace fedglm {

// Which of a head's rotated components form a pair: (2i, 2i+1), or (i, i + rotary/2).
enum class RotaryLayout { kInterleaved, kNeox };

// The side of a tensor, as one of the model's hyperparameters: kUp is what ffn_up makes, twice the feed-forward width
// where the gate is in it.
enum class Extent { kHidden, kQuery, kKeyValue, kHead, kFeedForward, kUp };

// A norm of each layer: "blk.N.GGUF.weight", of a checkpoint "model.layers.N.CHECKPOINT.weight".
struct NormRow {
  std::string_view gguf, checkpoint;
  Extent width = Extent::kHidden;
};

// A linear layer of each layer, named as norms are; an adapter can be attached to each.
struct LinearRow {
  std::string_view gguf, checkpoint;
  Extent inputs, outputs;
  bool rotated = false;  // its rows are of heads that are rotated: their order follows the layout
  bool qkv = false;      // a checkpoint's attention_bias gives it a bias
};

// How a checkpoint of Hugging Face says that it is of this architecture.
struct CheckpointType {
  std::string_view model_type;
  std::string_view part;  // the member of config.json that has the text model's hyperparameters; empty: the whole
};

// Control tokens that a file is to have for these whatever its tokenizer names, as llama.cpp's converter does; empty:
// as the tokenizer names them.
struct ControlTokens {
  std::string_view begin, end, end_of_turn;
};

struct Architecture {
  std::string_view name;  // general.architecture, with which the keys begin
  std::span<const CheckpointType> checkpoint_types;
  std::span<const NormRow> norms;      // a layer's, in the order in which they are imported
  std::span<const LinearRow> linears;  // a layer's, in the order in which they are listed and imported
  bool gate_in_up = false;             // ffn_up holds the gate as well, its rows first
  bool always_qkv_bias = false;        // else as the checkpoint's attention_bias says, and a file may have them
  RotaryLayout rotary_layout = RotaryLayout::kInterleaved;             // of a file
  RotaryLayout checkpoint_rotary_layout = RotaryLayout::kInterleaved;  // if another: rows are permuted on import
  bool rotary_sections = false;                     // may have M-RoPE's sections, with which a file's layout is kNeox
  double rotary_part = 1.0;                         // of a head, where a checkpoint has no partial_rotary_factor
  int64_t head_size = 0;                            // where a checkpoint has no head_dim; 0: hidden / heads
  std::span<const std::string_view> pretokenizers;  // that are named before the others with the same pattern
  ControlTokens control_tokens;

  // nullptr: it has none of this GGUF name ("attn_q_norm", "ffn_gate").
  const NormRow* FindNorm(std::string_view gguf) const;
  const LinearRow* FindLinear(std::string_view gguf) const;
};

// All rows.
std::span<const Architecture> Architectures();

// By GGUF's name. BadFile for one that is not in the table; the message lists those that are.
absl::StatusOr<const Architecture*> FindArchitecture(std::string_view name);

// By the model_type of a checkpoint. BadFile as above.
struct CheckpointArchitecture {
  const Architecture* architecture;
  std::string_view part;  // see CheckpointType
};
absl::StatusOr<CheckpointArchitecture> FindCheckpointArchitecture(std::string_view model_type);

}  // namespace fedglm
