#include "training/layer/rotation.h"

#include <cmath>

namespace fedglm {

void Rotation::Assign(RotaryLayout layout, const std::vector<double>& frequencies,
                      const std::vector<int64_t>& positions) {
  layout_ = layout;
  tokens_ = static_cast<int64_t>(positions.size());
  pairs_ = static_cast<int64_t>(frequencies.size());
  float* const cosines = cosines_.Room(tokens_ * pairs_);
  float* const sines = sines_.Room(tokens_ * pairs_);
  for (int64_t t = 0; t < tokens_; ++t) {
    for (int64_t i = 0; i < pairs_; ++i) {
      const double angle = static_cast<double>(positions[static_cast<size_t>(t)]) * frequencies[static_cast<size_t>(i)];
      cosines[t * pairs_ + i] = static_cast<float>(std::cos(angle));
      sines[t * pairs_ + i] = static_cast<float>(std::sin(angle));
    }
  }
}

void Rotation::RotateBy(float sign, float* heads, int64_t count, int64_t head_size, ThreadPool& pool) const {
  const int64_t step = layout_ == RotaryLayout::kInterleaved ? 2 : 1;
  const int64_t partner = layout_ == RotaryLayout::kInterleaved ? 1 : pairs_;
  pool.ParallelFor(tokens_, 8, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* const cosines = cosines_.data() + t * pairs_;
      const float* const sines = sines_.data() + t * pairs_;
      for (int64_t h = 0; h < count; ++h) {
        float* const head = heads + (t * count + h) * head_size;
        for (int64_t i = 0; i < pairs_; ++i) {
          const float a = head[i * step], b = head[i * step + partner], sine = sign * sines[i];
          head[i * step] = a * cosines[i] - b * sine;
          head[i * step + partner] = a * sine + b * cosines[i];
        }
      }
    }
  });
}

void Rotation::Rotate(float* heads, int64_t count, int64_t head_size, ThreadPool& pool) const {
  RotateBy(1, heads, count, head_size, pool);
}

void Rotation::RotateBack(float* heads, int64_t count, int64_t head_size, ThreadPool& pool) const {
  RotateBy(-1, heads, count, head_size, pool);  // its transpose, which is its inverse
}

}  // namespace fedglm
