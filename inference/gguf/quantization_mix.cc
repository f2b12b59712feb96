#include "inference/gguf/quantization_mix.h"

#include <algorithm>
#include <cctype>
#include <cinttypes>
#include <cstdio>

namespace fedglm {
namespace {

constexpr QuantizationMix kMixes[] = {
    {"F32", BlockType::kF32, 0},      {"F16", BlockType::kF16, 1},        {"BF16", BlockType::kBF16, 32},
    {"Q8_0", BlockType::kQ8_0, 7},    {"Q6_K", BlockType::kQ6_K, 18},     {"Q5_1", BlockType::kQ5_1, 9},
    {"Q5_K_M", BlockType::kQ5_K, 17}, {"Q5_K_S", BlockType::kQ5_K, 16},   {"Q5_0", BlockType::kQ5_0, 8},
    {"Q4_1", BlockType::kQ4_1, 3},    {"Q4_K_M", BlockType::kQ4_K, 15},   {"Q4_K_S", BlockType::kQ4_K, 14},
    {"Q4_0", BlockType::kQ4_0, 2},    {"IQ4_NL", BlockType::kIQ4_NL, 25}, {"IQ4_XS", BlockType::kIQ4_XS, 30},
    {"Q3_K_L", BlockType::kQ3_K, 13}, {"Q3_K_M", BlockType::kQ3_K, 12},   {"Q3_K_S", BlockType::kQ3_K, 11},
    {"Q2_K", BlockType::kQ2_K, 10}};

bool IsFloat(BlockType type) { return FactsOf(type).weights_per_block == 1; }

// -1: not in a layer.
int64_t LayerOf(std::string_view name) {
  int64_t layer = -1;
  return std::sscanf(std::string(name).c_str(), "blk.%" SCNd64 ".", &layer) == 1 ? layer : -1;
}

// "blk.7.ffn_down.weight": "ffn_down"
std::string_view KindOf(std::string_view name) {
  const size_t begin = name.rfind("blk.", 0) == 0 ? name.find('.', 4) + 1 : 0;
  return name.substr(begin, name.rfind('.') - begin);
}

// The first and the last eighth of the layers, and every third between them.
bool DeservesMoreBits(int64_t layer, int64_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

// The values carry what attention passes on, and there are few of them where several queries share a head.
BlockType TypeOfValues(const QuantizationMix& mix, int64_t layer, const MixedModel& model) {
  const bool shared = model.queries_per_kv_head >= 4;
  if (mix.name == "Q2_K") return shared ? BlockType::kQ4_K : BlockType::kQ3_K;
  if (mix.name == "Q3_K_M") return layer < 2 ? BlockType::kQ5_K : BlockType::kQ4_K;
  if (mix.name == "Q3_K_L") return BlockType::kQ5_K;
  if (mix.name == "Q4_K_S" && layer < 4) return BlockType::kQ5_K;
  if ((mix.name == "IQ4_NL" || mix.name == "IQ4_XS") && shared) return BlockType::kQ5_K;
  if ((mix.name == "Q4_K_M" || mix.name == "Q5_K_M") && DeservesMoreBits(layer, model.layers)) return BlockType::kQ6_K;
  return mix.type;
}

// Its inputs have the largest outliers.
BlockType TypeOfDown(const QuantizationMix& mix, int64_t layer, const MixedModel& model) {
  const bool first_eighth = layer < model.layers / 8;
  if (mix.name == "Q2_K") return BlockType::kQ3_K;
  if (mix.name == "Q3_K_M") return layer < model.layers / 16 ? BlockType::kQ5_K : BlockType::kQ4_K;
  if (mix.name == "Q3_K_L") return BlockType::kQ5_K;
  if (mix.name == "Q4_K_S" && first_eighth) return BlockType::kQ5_K;
  if ((mix.name == "Q4_K_M" || mix.name == "Q5_K_M") && DeservesMoreBits(layer, model.layers)) return BlockType::kQ6_K;
  if ((mix.name == "IQ4_NL" || mix.name == "IQ4_XS") && first_eighth && !model.calibrated) return BlockType::kQ5_K;
  if (mix.name == "Q4_0" && first_eighth && model.calibrated) return BlockType::kQ4_1;
  if (mix.name == "Q5_0" && first_eighth && model.calibrated) return BlockType::kQ5_1;
  return mix.type;
}

BlockType TypeOfAttentionOutput(const QuantizationMix& mix) {
  if (mix.name == "Q2_K") return BlockType::kQ3_K;
  if (mix.name == "Q3_K_M") return BlockType::kQ4_K;
  if (mix.name == "Q3_K_L") return BlockType::kQ5_K;
  return mix.type;
}

BlockType Choose(const QuantizationMix& mix, std::string_view name, const MixedModel& model) {
  if (IsFloat(mix.type)) return mix.type;
  const std::string_view kind = KindOf(name);
  // Errors of the output head are seen in every token.
  if (kind == "output" || (kind == "token_embd" && model.tied_embeddings)) {
    return mix.type == BlockType::kQ8_0 ? BlockType::kQ8_0 : BlockType::kQ6_K;
  }
  const int64_t layer = LayerOf(name);
  if (layer < 0) return mix.type;
  if (kind == "attn_v") return TypeOfValues(mix, layer, model);
  if (kind == "ffn_down") return TypeOfDown(mix, layer, model);
  if (kind == "attn_output") return TypeOfAttentionOutput(mix);
  return mix.type;
}

// The type of 32 weights a block that comes next in bits.
BlockType OfSmallBlocks(BlockType type) {
  switch (type) {
    case BlockType::kQ2_K:
    case BlockType::kQ3_K:
    case BlockType::kIQ4_XS:
      return BlockType::kIQ4_NL;
    case BlockType::kQ4_K:
      return BlockType::kQ5_0;
    case BlockType::kQ5_K:
      return BlockType::kQ5_1;
    case BlockType::kQ6_K:
      return BlockType::kQ8_0;
    default:
      return type;
  }
}

}  // namespace

absl::StatusOr<QuantizationMix> QuantizationMixFromName(std::string_view name) {
  std::string upper(name);
  std::transform(upper.begin(), upper.end(), upper.begin(), [](unsigned char c) { return std::toupper(c); });
  if (upper == "Q3_K" || upper == "Q4_K" || upper == "Q5_K") upper += "_M";
  for (const QuantizationMix& mix : kMixes) {
    if (mix.name == upper) return mix;
  }
  std::string known;
  for (const QuantizationMix& mix : kMixes) known += (known.empty() ? "" : ", ") + std::string(mix.name);
  return UsageError("no type is called '" + std::string(name) + "'; there are " + known);
}

std::vector<std::string_view> QuantizationMixNames() {
  std::vector<std::string_view> names;
  for (const QuantizationMix& mix : kMixes) names.push_back(mix.name);
  return names;
}

BlockType TypeInMix(const QuantizationMix& mix, const MixedTensor& tensor, const MixedModel& model) {
  if (tensor.dimensions < 2) return BlockType::kF32;
  BlockType type = Choose(mix, tensor.name, model);
  if (tensor.columns % FactsOf(type).weights_per_block != 0) type = OfSmallBlocks(type);
  return tensor.columns % FactsOf(type).weights_per_block == 0 ? type : BlockType::kF16;
}

}  // namespace fedglm
