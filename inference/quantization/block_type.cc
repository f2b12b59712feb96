#include "inference/quantization/block_type.h"

#include <algorithm>
#include <cctype>
#include <iterator>

namespace fedglm {
namespace {

constexpr BlockTypeFacts kFacts[] = {
    {BlockType::kF32, "F32", 1, 4},           {BlockType::kF16, "F16", 1, 2},
    {BlockType::kBF16, "BF16", 1, 2},         {BlockType::kQ8_0, "Q8_0", 32, 34},
    {BlockType::kQ4_0, "Q4_0", 32, 18},       {BlockType::kQ4_1, "Q4_1", 32, 20},
    {BlockType::kQ5_0, "Q5_0", 32, 22},       {BlockType::kQ5_1, "Q5_1", 32, 24},
    {BlockType::kQ2_K, "Q2_K", 256, 84},      {BlockType::kQ3_K, "Q3_K", 256, 110},
    {BlockType::kQ4_K, "Q4_K", 256, 144},     {BlockType::kQ5_K, "Q5_K", 256, 176},
    {BlockType::kQ6_K, "Q6_K", 256, 210},     {BlockType::kIQ4_NL, "IQ4_NL", 32, 18},
    {BlockType::kIQ4_XS, "IQ4_XS", 256, 136},
};

}  // namespace

absl::StatusOr<BlockType> BlockTypeFromNumber(uint32_t number) {
  for (const BlockTypeFacts& facts : kFacts) {
    if (static_cast<uint32_t>(facts.type) == number) return facts.type;
  }
  return BadFileError("tensor type " + std::to_string(number) + " is not supported");
}

absl::StatusOr<BlockType> BlockTypeFromName(std::string_view name) {
  const auto equal = [](char a, char b) {
    return std::toupper(static_cast<unsigned char>(a)) == std::toupper(static_cast<unsigned char>(b));
  };
  for (const BlockTypeFacts& facts : kFacts) {
    if (std::equal(name.begin(), name.end(), facts.name.begin(), facts.name.end(), equal)) return facts.type;
  }
  return UsageError("'" + std::string(name) + "' is not a block type (Q8_0, Q4_0, F16 …)");
}

const BlockTypeFacts& FactsOf(BlockType type) {
  return *std::find_if(std::begin(kFacts), std::end(kFacts),
                       [&](const BlockTypeFacts& facts) { return facts.type == type; });
}

int64_t RowBytes(BlockType type, int64_t columns) {
  const BlockTypeFacts& facts = FactsOf(type);
  return columns / facts.weights_per_block * facts.bytes_per_block;
}

}  // namespace fedglm
