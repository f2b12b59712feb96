// Room for the activations of a forward pass, planned once and used again in every pass.
#pragma once

#include <cstdint>
#include <memory>

#include "base/status.h"
#include "inference/gguf/architecture.h"
#include "inference/kernels/kernels.h"
#include "inference/memory/memory_budget.h"
#include "inference/memory/reserved_memory.h"

namespace fedglm {

// Buffers share memory where their lifetimes allow it:
//   residual     from the embedding to the last norm
//   normed       a norm's output until the next linear layers have read it; then what the branch adds to the residual
//   query…value  from their projections to the attention's, which reads and writes `query` in place
//   up, gate     the feed-forward part, over the same memory as query…value
// Memory is taken from the machine only when a row is used first. One pass at a time.
struct Workspace {
  // What a workspace for `rows` tokens and `logit_rows` rows of logits takes, in bytes; with the quantized activations.
  static uint64_t Bytes(const Hyperparameters& hyperparameters, int64_t rows, int64_t logit_rows);
  // Charged to kActivations. ResourceExhausted if the budget has no room.
  static absl::StatusOr<std::unique_ptr<Workspace>> Make(const Hyperparameters& hyperparameters, int64_t rows,
                                                         int64_t logit_rows, MemoryBudget& budget);

  ReservedMemory memory;  // where all of the following lie
  int64_t rows = 0, logit_rows = 0;
  float* residual = nullptr;                   // [rows][hidden]
  float* normed = nullptr;                     // [rows][hidden]
  float* query = nullptr;                      // [rows][query_width]
  float *key = nullptr, *value = nullptr;      // [rows][kv_width]
  float* up = nullptr;                         // [rows][up_width]
  float* gate = nullptr;                       // [rows][feed_forward]
  float *cosines = nullptr, *sines = nullptr;  // [rows][rotary_size / 2]
  float* logits = nullptr;                     // [logit_rows][vocabulary]
  QuantizedRows quantized;                     // of the input that is multiplied now
};

}  // namespace fedglm
