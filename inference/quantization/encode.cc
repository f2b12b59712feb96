#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "inference/quantization/codec.h"
#include "inference/quantization/encode_blocks.h"
#include "inference/quantization/encode_feedback.h"
#include "inference/quantization/half.h"

namespace fedglm {
namespace {

constexpr float kLargestHalf = 65504.0f;

absl::Status Check(BlockType type, const float* weights, int64_t columns, const ErrorMetric* metric) {
  const BlockTypeFacts& facts = FactsOf(type);
  if (columns % facts.weights_per_block != 0) {
    return UsageError(std::to_string(columns) + " columns are no whole blocks of " + std::string(facts.name));
  }
  if (metric != nullptr && metric->columns() != columns) {
    return UsageError("a metric of " + std::to_string(metric->columns()) + " columns for a row of " +
                      std::to_string(columns));
  }
  // The scales of all others are float16, and so is F16 itself.
  const bool any_size = type == BlockType::kF32 || type == BlockType::kBF16;
  for (int64_t i = 0; i < columns; ++i) {
    if (!std::isfinite(weights[i])) return BadFileError("a weight is not finite");
    if (!any_size && std::fabs(weights[i]) > kLargestHalf) {
      return BadFileError("a weight is too large for " + std::string(facts.name));
    }
  }
  return absl::OkStatus();
}

// change(offset of the block's first weight, block). Blocks in a file are not aligned.
template <typename Block, int kWeights, typename Body>
void ForEachBlock(int64_t columns, std::byte* blocks, const Body& change) {
  for (int64_t i = 0; i < columns / kWeights; ++i) {
    std::byte* const at = blocks + i * static_cast<int64_t>(sizeof(Block));
    Block block;
    std::memcpy(&block, at, sizeof(Block));
    change(i * kWeights, block);
    std::memcpy(at, &block, sizeof(Block));
  }
}

template <typename Block, int kWeights>
void EncodeBlocks(const float* weights, const ErrorMetric* metric, int64_t columns, std::byte* blocks) {
  using Grid = GridOf<Block>;
  const size_t count = static_cast<size_t>(columns), groups = count / Grid::kGroup;
  const std::vector<float> alike(metric == nullptr ? count : 0, 1.0f);
  const float* const importance = metric == nullptr ? alike.data() : metric->importance();
  std::vector<float> levels(count), steps(groups), offsets(groups);
  ForEachBlock<Block, kWeights>(columns, blocks, [&](int64_t at, Block& block) {
    const int64_t group = at / Grid::kGroup;
    FitBlock(weights + at, importance + at, block, {&levels[at], &steps[group], &offsets[group]});
  });
  if (metric != nullptr) {
    RoundTogether(Grid::kLevels, weights, *metric, {levels.data(), steps.data(), offsets.data(), Grid::kGroup});
  }
  ForEachBlock<Block, kWeights>(columns, blocks, [&](int64_t at, Block& block) { PackLevels(&levels[at], block); });
}

}  // namespace

absl::Status EncodeRow(BlockType type, const float* weights, std::byte* blocks, int64_t columns,
                       const ErrorMetric* metric) {
  FEDGLM_RETURN_IF_ERROR(Check(type, weights, columns, metric));
  switch (type) {
    case BlockType::kF32:
      std::memcpy(blocks, weights, static_cast<size_t>(columns) * sizeof(float));
      break;
    case BlockType::kF16:
      ForEachBlock<uint16_t, 1>(columns, blocks, [&](int64_t at, uint16_t& half) { half = FloatToHalf(weights[at]); });
      break;
    case BlockType::kBF16:
      ForEachBlock<uint16_t, 1>(columns, blocks,
                                [&](int64_t at, uint16_t& half) { half = FloatToBfloat16(weights[at]); });
      break;
    case BlockType::kQ8_0:
      if (metric == nullptr) {
        ForEachBlock<BlockQ8_0, 32>(columns, blocks,
                                    [&](int64_t at, BlockQ8_0& block) { EncodeBlockPlainly(weights + at, block); });
      } else {
        EncodeBlocks<BlockQ8_0, 32>(weights, metric, columns, blocks);
      }
      break;
    case BlockType::kQ4_0:
      EncodeBlocks<BlockQ4_0, 32>(weights, metric, columns, blocks);
      break;
    case BlockType::kQ4_1:
      EncodeBlocks<BlockQ4_1, 32>(weights, metric, columns, blocks);
      break;
    case BlockType::kQ5_0:
      EncodeBlocks<BlockQ5_0, 32>(weights, metric, columns, blocks);
      break;
    case BlockType::kQ5_1:
      EncodeBlocks<BlockQ5_1, 32>(weights, metric, columns, blocks);
      break;
    case BlockType::kQ2_K:
      EncodeBlocks<BlockQ2_K, 256>(weights, metric, columns, blocks);
      break;
    case BlockType::kQ3_K:
      EncodeBlocks<BlockQ3_K, 256>(weights, metric, columns, blocks);
      break;
    case BlockType::kQ4_K:
      EncodeBlocks<BlockQ4_K, 256>(weights, metric, columns, blocks);
      break;
    case BlockType::kQ5_K:
      EncodeBlocks<BlockQ5_K, 256>(weights, metric, columns, blocks);
      break;
    case BlockType::kQ6_K:
      EncodeBlocks<BlockQ6_K, 256>(weights, metric, columns, blocks);
      break;
    case BlockType::kIQ4_NL:
      EncodeBlocks<BlockIQ4_NL, 32>(weights, metric, columns, blocks);
      break;
    case BlockType::kIQ4_XS:
      EncodeBlocks<BlockIQ4_XS, 256>(weights, metric, columns, blocks);
      break;
  }
  return absl::OkStatus();
}

}  // namespace fedglm
