// Causal attention of a batch's rows over the pages of their sequences. Private to this folder.
#pragma once

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"
#include "inference/gguf/architecture.h"
#include "inference/kernels/row_kernels.h"
#include "inference/model/batch.h"

namespace fedglm {

// What one thread does at once: the query heads of one K/V head, for a few tokens of one sequence. All of them share
// each key and value that is loaded.
struct AttentionTile {
  const SequenceRows* sequence;
  int64_t kv_head;
  int64_t first_token, tokens;  // of the sequence's rows
  int64_t first_head, heads;    // query heads
};

// The same for every layer of a pass: [tiles], enough for `threads` where there is enough to do.
std::vector<AttentionTile> PlanAttention(const Hyperparameters& hyperparameters, const Batch& batch, int threads);

// queries[row] = softmax(q K^T / sqrt(head_size)) V over the positions up to the row's own, for every head, in place:
// [rows][query_width]. Keys and values of the new positions are already in the pages. Page by page with a running
// maximum and sum (Dao et al. 2022, arXiv:2205.14135), all in float32.
void CausalAttention(const Hyperparameters& hyperparameters, int64_t layer, const std::vector<AttentionTile>& tiles,
                     const RowKernels& kernels, float* queries, ThreadPool& pool);

}  // namespace fedglm
