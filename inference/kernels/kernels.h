// The arithmetic of the engine and of the trainer's base layers. One scalar reference; faster versions are chosen once
// at start by what the CPU has. FEDGLM_ISA=scalar|avx2|avx512|... forces one (an error at start if the CPU lacks it).
//
// Every function here computes in float32 with float32 accumulation.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"
#include "inference/quantization/weight_matrix.h"

namespace fedglm {

// Instruction sets that this CPU has and this build holds, slowest first; the first is "scalar".
std::vector<std::string_view> AvailableInstructionSets();
// The one in use, and a way for tests and --isa to change it. UsageError if it is not available. Not thread-safe.
std::string_view InstructionSet();
absl::Status SelectInstructionSet(std::string_view name);

// y[t][r] = sum_c W[r][c] * x[t][c].  x: [tokens][columns], y: [tokens][rows], row-major, no overlap.
void MatMul(const WeightMatrix& weights, const float* x, int64_t tokens, float* y, ThreadPool& pool);

// dx[t][c] = sum_r dy[t][r] * W[r][c].  For the trainer's backward pass. dx is overwritten.
void MatMulTransposed(const WeightMatrix& weights, const float* dy, int64_t tokens, float* dx, ThreadPool& pool);

// Decodes one row with the chosen instruction set: as DecodeRow in quantization/codec.h, which is the reference.
void DecodeRowFast(const WeightMatrix& weights, int64_t row, float* out);

// sum_i a[i] * b[i]
float Dot(const float* a, const float* b, int64_t count);
// y[i] += scale * x[i]
void AddScaled(float scale, const float* x, float* y, int64_t count);

}  // namespace fedglm
