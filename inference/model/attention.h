// Causal attention of a batch of new positions over the cache. Private to this folder.
#pragma once

#include <cstdint>

#include "base/thread_pool.h"
#include "inference/cache/kv_cache.h"
#include "inference/gguf/architecture.h"

namespace fedglm {

// out[t] = softmax(q[t] K^T / sqrt(head_size)) V over positions 0..start+t, for every head; keys and values of the new
// positions are already in the cache. queries, out: [tokens][query_width]. Float32 accumulation.
void CausalAttention(const Hyperparameters& hyperparameters, int64_t layer, const float* queries, int64_t tokens,
                     int64_t start, KvCache& cache, float* out, ThreadPool& pool);

}  // namespace fedglm
