// Blocks of random weights, made far faster than encoding: a pool of blocks is encoded once, and rows are drawn from
// it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "base/status.h"
#include "inference/quantization/block_type.h"

namespace fedglm::bench {

// Not thread-safe.
class RandomBlocks {
 public:
  // Weights are normal with mean 0 and `deviation`. BadFile if that gives weights that the type cannot hold.
  static absl::StatusOr<RandomBlocks> Make(BlockType type, float deviation, uint64_t seed);

  // Fills `out`, whose size is a multiple of the block's bytes, with blocks drawn from the pool.
  void Fill(std::span<std::byte> out);

 private:
  RandomBlocks(size_t block_bytes, uint64_t seed) : block_bytes_(block_bytes), random_(seed) {}
  size_t block_bytes_;
  std::mt19937_64 random_;
  std::vector<std::byte> pool_;
};

}  // namespace fedglm::bench
