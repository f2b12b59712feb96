#include "bench/read_bandwidth.h"

#include <atomic>
#include <cstdint>
#include <cstring>

#include "base/clock.h"

namespace fedglm::bench {
namespace {

constexpr size_t kStep = 256;             // bytes a turn: four cache lines, each into a sum of its own
constexpr size_t kPiece = size_t{1} << 20;  // what a thread takes at a time

#if defined(__x86_64__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
uint64_t Sum(const std::byte* bytes, size_t count) {
  constexpr size_t kWords = kStep / sizeof(uint64_t);
  uint64_t sums[kWords] = {};
  for (size_t i = 0; i + kStep <= count; i += kStep) {
    uint64_t words[kWords];
    std::memcpy(words, bytes + i, kStep);
    for (size_t w = 0; w < kWords; ++w) sums[w] += words[w];
  }
  uint64_t total = 0;
  for (const uint64_t sum : sums) total += sum;
  return total;
}

}  // namespace

double ReadBandwidth(std::span<const std::byte> bytes, ThreadPool& pool) {
  std::atomic<uint64_t> total = 0;  // so that no compiler leaves the reading out
  const int64_t pieces = static_cast<int64_t>(bytes.size() / kPiece);
  const Stopwatch stopwatch;
  pool.ParallelFor(pieces, 1, [&](int64_t begin, int64_t end) {
    total += Sum(bytes.data() + begin * kPiece, static_cast<size_t>(end - begin) * kPiece);
  });
  const double seconds = stopwatch.Seconds();
  volatile uint64_t kept = total;
  (void)kept;
  return static_cast<double>(pieces) * static_cast<double>(kPiece) / seconds;
}

}  // namespace fedglm::bench
