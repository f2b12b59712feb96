// Rotary position embedding of packed sequences, forward and backward (Su et al. 2021,
// https://arxiv.org/abs/2104.09864).
#pragma once

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"
#include "inference/gguf/architecture_table.h"
#include "training/layer/float_buffer.h"

namespace fedglm {

class Rotation {
 public:
  // frequencies: as RotaryFrequencies gives them; positions: of each token, within its sequence.
  void Assign(RotaryLayout layout, const std::vector<double>& frequencies, const std::vector<int64_t>& positions);

  // Rotates each head of heads [tokens][count][head_size] in place, or back: what a gradient needs.
  void Rotate(float* heads, int64_t count, int64_t head_size, ThreadPool& pool) const;
  void RotateBack(float* heads, int64_t count, int64_t head_size, ThreadPool& pool) const;

 private:
  void RotateBy(float sign, float* heads, int64_t count, int64_t head_size, ThreadPool& pool) const;
  RotaryLayout layout_ = RotaryLayout::kInterleaved;
  int64_t tokens_ = 0, pairs_ = 0;
  FloatBuffer cosines_, sines_;  // [tokens][pairs]
};

}  // namespace fedglm
