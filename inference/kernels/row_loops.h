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

struct SiluGradients {
  Floats gate, up;
};
inline SiluGradients SiluGradientsOf(Floats gate, Floats up, Floats dout) {
  const Floats sigmoid = 1.0f / (Exponential(-gate) + 1.0f);
  return {dout * up * (sigmoid * (1.0f + gate * (1.0f - sigmoid))), dout * (gate * sigmoid)};
}

void SiluMultiplyGradient(const float* gate, const float* up, const float* dout, float* dgate, float* dup,
                          int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const SiluGradients gradients = SiluGradientsOf(Load(gate + i), Load(up + i), Load(dout + i));
    Store(dgate + i, gradients.gate);
    Store(dup + i, gradients.up);
  }
  if (i < count) {
    const int64_t rest = count - i;
    const SiluGradients gradients =
        SiluGradientsOf(LoadPart(gate + i, rest, 0), LoadPart(up + i, rest, 0), LoadPart(dout + i, rest, 0));
    StorePart(dgate + i, gradients.gate, rest);
    StorePart(dup + i, gradients.up, rest);
  }
}

void RmsNormGradient(const float* x, const float* weight, const float* dy, double epsilon, int64_t width, float* dx) {
  Floats squares[2] = {}, products[2] = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= width; i += 2 * kLanes) {
    for (int k = 0; k < 2; ++k) {
      const Floats value = Load(x + i + k * kLanes);
      squares[k] += value * value;
      products[k] += Load(dy + i + k * kLanes) * Load(weight + i + k * kLanes) * value;
    }
  }
  double square = Sum(squares[0] + squares[1]), product = Sum(products[0] + products[1]);
  for (; i < width; ++i) {
    square += static_cast<double>(x[i]) * x[i];
    product += static_cast<double>(dy[i]) * weight[i] * x[i];
  }
  const double inverse = 1.0 / std::sqrt(square / static_cast<double>(width) + epsilon);
  const auto scale = static_cast<float>(inverse);
  const auto along = static_cast<float>(inverse * inverse * inverse * product / static_cast<double>(width));
  for (i = 0; i + kLanes <= width; i += kLanes) {
    Store(dx + i, Load(dy + i) * Load(weight + i) * scale - Load(x + i) * along);
  }
  for (; i < width; ++i) dx[i] = dy[i] * weight[i] * scale - x[i] * along;
}

constexpr RowKernels kRowLoops = {Scores,    AddWeighted,  Largest, Exponentials,         Scale,
                                  Add,       SiluMultiply, RmsNorm, SiluMultiplyGradient, RmsNormGradient,
                                  EncodeRow, DecodeRows};

}  // namespace
}  // namespace fedglm
