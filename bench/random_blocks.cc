#include "bench/random_blocks.h"

#include <cstring>

#include "inference/quantization/codec.h"

namespace fedglm::bench {
namespace {

// A power of two, so that a few random bits choose a block without a division.
constexpr int kPoolBits = 12;
constexpr size_t kPoolBlocks = size_t{1} << kPoolBits;

}  // namespace

absl::StatusOr<RandomBlocks> RandomBlocks::Make(BlockType type, float deviation, uint64_t seed) {
  const BlockTypeFacts& facts = FactsOf(type);
  RandomBlocks blocks(static_cast<size_t>(facts.bytes_per_block), seed);
  std::vector<float> weights(kPoolBlocks * static_cast<size_t>(facts.weights_per_block));
  std::normal_distribution<float> normal(0.0f, deviation);
  for (float& weight : weights) weight = normal(blocks.random_);
  blocks.pool_.resize(kPoolBlocks * blocks.block_bytes_);
  FEDGLM_RETURN_IF_ERROR(EncodeRow(type, weights.data(), blocks.pool_.data(), static_cast<int64_t>(weights.size())));
  return blocks;
}

void RandomBlocks::Fill(std::span<std::byte> out) {
  std::byte* to = out.data();
  std::byte* const end = to + out.size();
  while (to < end) {
    uint64_t bits = random_();
    for (int drawn = 0; drawn < 64 / kPoolBits && to < end; ++drawn, bits >>= kPoolBits, to += block_bytes_) {
      std::memcpy(to, pool_.data() + (bits % kPoolBlocks) * block_bytes_, block_bytes_);
    }
  }
}

}  // namespace fedglm::bench
