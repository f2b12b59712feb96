#include "inference/memory/bandwidth.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <numeric>
#include <vector>

#include "base/clock.h"
#include "base/memory.h"
#include "inference/memory/memory_plan.h"
#include "inference/memory/stream_ring.h"

namespace fedglm {
namespace {

constexpr uint64_t kLargestBuffer = uint64_t{256} << 20;
constexpr int64_t kPiece = int64_t{1} << 20;
constexpr int kPasses = 4;
constexpr int64_t kLine = 64, kAhead = 4096;
constexpr double kStreamSeconds = 0.5;

// Sums words in many independent sums, so that loads are what it waits for, and fetches a page ahead: no stream that
// the hardware follows leads into the next one.
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
uint64_t
Sum(const std::byte* bytes, int64_t count) {
  constexpr int64_t kSums = 32;
  constexpr int64_t kStep = kSums * static_cast<int64_t>(sizeof(uint64_t));
  uint64_t sums[kSums] = {};
  for (int64_t i = 0; i + kStep <= count; i += kStep) {
    for (int64_t line = 0; line < kStep; line += kLine) __builtin_prefetch(bytes + i + kAhead + line, 0, 2);
    uint64_t words[kSums];
    std::memcpy(words, bytes + i, kStep);  // mapped bytes need not be aligned
    for (int64_t j = 0; j < kSums; ++j) sums[j] += words[j];
  }
  return std::accumulate(sums, sums + kSums, uint64_t{0});
}

}  // namespace

double ReadBandwidth(std::span<const std::byte> bytes, ThreadPool& pool) {
  std::atomic<uint64_t> total = 0;  // kept below: no compiler leaves the reading out
  const int64_t pieces = static_cast<int64_t>(bytes.size()) / kPiece;
  const Stopwatch stopwatch;
  pool.ParallelFor(pieces, 1, [&](int64_t begin, int64_t end) {
    total += Sum(bytes.data() + begin * kPiece, (end - begin) * kPiece);
  });
  const double seconds = std::max(stopwatch.Seconds(), 1e-9);
  volatile uint64_t kept = total;
  (void)kept;
  return static_cast<double>(pieces * kPiece) / seconds;
}

double MeasureMemoryBandwidth(int threads) {
  const int64_t pieces =
      std::max<int64_t>(1, static_cast<int64_t>(std::min(kLargestBuffer, AvailableMemoryBytes() / 8)) / kPiece);
  const std::vector<std::byte> buffer(static_cast<size_t>(pieces * kPiece), std::byte{1});
  ThreadPool pool(threads);
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) best = std::max(best, ReadBandwidth(buffer, pool));
  return best;
}

absl::StatusOr<double> MeasureStreamBandwidth(const std::filesystem::path& model, const WeightLayout& layout) {
  std::vector<int64_t> sequence(static_cast<size_t>(layout.output()));
  std::iota(sequence.begin(), sequence.end(), int64_t{0});
  FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<StreamRing> ring, StreamRing::Open(model, layout, kRingSlots, {}));
  ring->Start(sequence, 0);
  size_t next = 0;
  const auto take = [&]() -> absl::Status {
    const int64_t layer = sequence[next];
    next = (next + 1) % sequence.size();
    FEDGLM_RETURN_IF_ERROR(ring->Take(layer).status());
    ring->GiveBack(layer);
    return absl::OkStatus();
  };
  // The first round also takes the buffers' pages from the kernel.
  for (int64_t i = 0; i < kRingSlots; ++i) FEDGLM_RETURN_IF_ERROR(take());
  const uint64_t before = ring->reader().bytes_read();
  const Stopwatch stopwatch;
  while (stopwatch.Seconds() < kStreamSeconds) FEDGLM_RETURN_IF_ERROR(take());
  return static_cast<double>(ring->reader().bytes_read() - before) / stopwatch.Seconds();
}

}  // namespace fedglm
