// The loops of row_kernels.h over the widest vectors of the file that includes this. Internal linkage, as in
// row_vectors.h.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "inference/kernels/attention_loops.h"
#include "inference/kernels/kv_rows.h"
#include "inference/kernels/row_kernels.h"
#include "inference/kernels/row_vectors.h"

namespace fedglm {
namespace {

float Largest(const float* x, int64_t count) {
  float largest = x[0];
  int64_t i = 0;
  if (count >= kLanes) {
    Floats lanes = Load(x);
    for (i = kLanes; i + kLanes <= count; i += kLanes) lanes = Larger(Load(x + i), lanes);
    float parts[kLanes];
    std::memcpy(parts, &lanes, sizeof(lanes));
    for (const float part : parts) largest = part > largest ? part : largest;
  }
  for (; i < count; ++i) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

float Exponentials(float* x, int64_t count, float highest) {
  Floats sums = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Floats y = Exponential(Load(x + i) - highest);
    Store(x + i, y);
    sums += y;
  }
  float sum = Sum(sums);
  if (i < count) {
    StorePart(x + i, Exponential(LoadPart(x + i, count - i, highest) - highest), count - i);
    for (; i < count; ++i) sum += x[i];
  }
  return sum;
}

void Scale(float factor, float* x, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) Store(x + i, Load(x + i) * factor);
  for (; i < count; ++i) x[i] *= factor;
}

void Add(const float* x, float* y, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) Store(y + i, Load(y + i) + Load(x + i));
  for (; i < count; ++i) y[i] += x[i];
}

void SiluMultiply(const float* gate, const float* up, float* out, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const Floats x = Load(gate + i);
    Store(out + i, x / (Exponential(-x) + 1.0f) * Load(up + i));
  }
  if (i < count) {
    const Floats x = LoadPart(gate + i, count - i, 0);
    StorePart(out + i, x / (Exponential(-x) + 1.0f) * LoadPart(up + i, count - i, 0), count - i);
  }
}

void RmsNorm(const float* x, const float* weight, double epsilon, int64_t width, float* out) {
  Floats sums[4] = {};
  int64_t i = 0;
  for (; i + 4 * kLanes <= width; i += 4 * kLanes) {
    for (int k = 0; k < 4; ++k) {
      const Floats y = Load(x + i + k * kLanes);
      sums[k] += y * y;
    }
  }
  double sum = Sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
  for (; i < width; ++i) sum += static_cast<double>(x[i]) * x[i];
  const float scale = static_cast<float>(1.0 / std::sqrt(sum / static_cast<double>(width) + epsilon));
  for (i = 0; i + kLanes <= width; i += kLanes) Store(out + i, Load(x + i) * scale * Load(weight + i));
  for (; i < width; ++i) out[i] = x[i] * scale * weight[i];
}

constexpr RowKernels kRowLoops = {Scores, AddWeighted,  Largest, Exponentials, Scale,
                                  Add,    SiluMultiply, RmsNorm, EncodeRow,    DecodeRows};

}  // namespace
}  // namespace fedglm
