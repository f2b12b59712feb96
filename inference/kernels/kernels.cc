#include "inference/kernels/kernels.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "inference/kernels/kernel_table.h"

namespace fedglm {
namespace {

// A decoded tile fits the second-level cache with room for the inputs.
constexpr int64_t kTileFloats = 32 << 10;

std::vector<const KernelTable*> AvailableTables() {
  std::vector<const KernelTable*> tables;
  for (const KernelTable* table : {ScalarKernels(), Avx2Kernels(), Avx512Kernels()}) {
    if (table != nullptr && table->supported()) tables.push_back(table);
  }
  return tables;
}

const KernelTable* FindTable(std::string_view name) {
  for (const KernelTable* table : AvailableTables()) {
    if (name == table->name) return table;
  }
  return nullptr;
}

// FEDGLM_ISA, else the best this CPU has. A name that is not available is reported once and not obeyed in silence.
const KernelTable* ChooseAtStart() {
  if (const char* wanted = std::getenv("FEDGLM_ISA"); wanted != nullptr && *wanted != '\0') {
    if (const KernelTable* table = FindTable(wanted)) return table;
    std::fprintf(stderr, "FEDGLM_ISA=%s is not available on this CPU (", wanted);
    for (const std::string_view name : AvailableInstructionSets()) {
      std::fprintf(stderr, " %.*s", static_cast<int>(name.size()), name.data());
    }
    std::fprintf(stderr, " )\n");
    std::exit(static_cast<int>(ExitCode::kConfiguration));
  }
  return AvailableTables().back();
}

std::atomic<const KernelTable*>& Chosen() {
  static std::atomic<const KernelTable*> chosen = ChooseAtStart();
  return chosen;
}

const KernelTable& Kernels() { return *Chosen().load(std::memory_order_relaxed); }

// Room for one tile, kept by each thread.
float* TileScratch(int64_t floats) {
  thread_local std::vector<float> scratch;
  if (static_cast<int64_t>(scratch.size()) < floats) scratch.resize(static_cast<size_t>(floats));
  return scratch.data();
}

}  // namespace

std::vector<std::string_view> AvailableInstructionSets() {
  std::vector<std::string_view> names;
  for (const KernelTable* table : AvailableTables()) names.emplace_back(table->name);
  return names;
}

std::string_view InstructionSet() { return Kernels().name; }

absl::Status SelectInstructionSet(std::string_view name) {
  const KernelTable* const table = FindTable(name);
  if (table == nullptr) return UsageError("instruction set '" + std::string(name) + "' is not available on this CPU");
  Chosen() = table;
  return absl::OkStatus();
}

void MatMul(const WeightMatrix& weights, const float* x, int64_t tokens, float* y, ThreadPool& pool) {
  const KernelTable& kernels = Kernels();
  const int64_t columns = weights.columns;
  // Tiles small enough for the cache, and enough of them that every thread gets some.
  const int64_t fitting = std::max<int64_t>(4, kTileFloats / std::max<int64_t>(1, columns) / 4 * 4);
  const int64_t sharing = std::max<int64_t>(4, (weights.rows / pool.threads() + 3) / 4 * 4);
  const int64_t tile = std::min(fitting, sharing);
  pool.ParallelFor(weights.rows, tile, [&](int64_t begin, int64_t end) {
    float* const decoded = TileScratch(std::min(tile, end - begin) * columns);
    for (int64_t first = begin; first < end; first += tile) {
      const int64_t rows = std::min(tile, end - first);
      const float* w = decoded;
      if (weights.type == BlockType::kF32 && reinterpret_cast<uintptr_t>(weights.data) % alignof(float) == 0) {
        w = reinterpret_cast<const float*>(weights.Row(first));
      } else {
        for (int64_t r = 0; r < rows; ++r) {
          kernels.decode_row(weights.type, weights.Row(first + r), decoded + r * columns, columns);
        }
      }
      kernels.multiply_tile(w, rows, columns, x, columns, tokens, y + first, weights.rows);
    }
  });
}

void MatMulTransposed(const WeightMatrix& weights, const float* dy, int64_t tokens, float* dx, ThreadPool& pool) {
  const KernelTable& kernels = Kernels();
  // Threads share out the columns, in whole blocks, so that no two write the same sums.
  const int64_t block = FactsOf(weights.type).weights_per_block;
  const int64_t share = (weights.columns / block + pool.threads() - 1) / pool.threads() * block;
  const int64_t span = std::max(share, std::min<int64_t>(weights.columns, (64 + block - 1) / block * block));
  pool.ParallelFor(weights.columns, span, [&](int64_t begin, int64_t end) {
    for (int64_t from = begin; from < end; from += span) {
      const int64_t columns = std::min(span, end - from);
      for (int64_t t = 0; t < tokens; ++t) std::fill_n(dx + t * weights.columns + from, columns, 0.0f);
      const int64_t tile = std::max<int64_t>(1, kTileFloats / columns);
      float* const decoded = TileScratch(std::min(tile, weights.rows) * columns);
      for (int64_t first = 0; first < weights.rows; first += tile) {
        const int64_t rows = std::min(tile, weights.rows - first);
        for (int64_t r = 0; r < rows; ++r) {
          kernels.decode_row(weights.type, weights.Row(first + r) + RowBytes(weights.type, from), decoded + r * columns,
                             columns);
        }
        kernels.accumulate_tile(decoded, rows, columns, dy + first, weights.rows, tokens, dx + from, weights.columns);
      }
    }
  });
}

void DecodeRowFast(const WeightMatrix& weights, int64_t row, float* out) {
  Kernels().decode_row(weights.type, weights.Row(row), out, weights.columns);
}

float Dot(const float* a, const float* b, int64_t count) { return Kernels().dot(a, b, count); }

void AddScaled(float scale, const float* x, float* y, int64_t count) { Kernels().add_scaled(scale, x, y, count); }

}  // namespace fedglm
