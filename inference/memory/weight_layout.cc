#include "inference/memory/weight_layout.h"

#include <algorithm>
#include <charconv>
#include <string_view>

namespace fedglm {
namespace {

// 7 of "blk.7.attn_q.weight"; -1 for what belongs to no layer.
int64_t LayerOf(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.";
  if (!name.starts_with(kPrefix)) return -1;
  name.remove_prefix(kPrefix.size());
  int64_t layer = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
  const bool whole = error == std::errc() && end != name.data() + name.size() && *end == '.';
  return whole && layer >= 0 ? layer : -1;
}

// Sorts, widens to the alignment, and merges what is close.
std::vector<FileRange> Tidy(std::vector<FileRange> ranges, uint64_t merge_gap) {
  std::sort(ranges.begin(), ranges.end(), [](const FileRange& a, const FileRange& b) { return a.offset < b.offset; });
  std::vector<FileRange> tidy;
  for (const FileRange& range : ranges) {
    const uint64_t begin = range.offset / kReadAlignment * kReadAlignment;
    const uint64_t end = (range.end() + kReadAlignment - 1) / kReadAlignment * kReadAlignment;
    if (!tidy.empty() && begin <= tidy.back().end() + merge_gap) {
      tidy.back().bytes = std::max(tidy.back().end(), end) - tidy.back().offset;
    } else {
      tidy.push_back({begin, end - begin});
    }
  }
  return tidy;
}

}  // namespace

uint64_t LayerWeights::bytes() const {
  uint64_t sum = 0;
  for (const FileRange& range : ranges) sum += range.bytes;
  return sum;
}

uint64_t WeightLayout::bytes() const {
  uint64_t sum = 0;
  for (const LayerWeights& layer : layers) sum += layer.bytes();
  return sum;
}

WeightLayout LayOutWeights(const GgufFile& file, int64_t layers, uint64_t merge_gap) {
  WeightLayout layout;
  layout.layers.resize(static_cast<size_t>(layers) + 1);
  const std::byte* const begin = file.bytes().data();
  const std::string_view output = file.FindTensor("output.weight") != nullptr ? "output.weight" : "token_embd.weight";
  layout.metadata_bytes = file.bytes().size();
  for (const GgufTensor& tensor : file.tensors()) {
    const FileRange range = {static_cast<uint64_t>(tensor.bytes.data() - begin), tensor.bytes.size()};
    layout.metadata_bytes = std::min(layout.metadata_bytes, range.offset);
    if (tensor.rows() == 1) {
      layout.vector_values += static_cast<uint64_t>(tensor.columns());
      continue;
    }
    if (const int64_t layer = LayerOf(tensor.name); layer >= 0 && layer < layers) {
      layout.layers[static_cast<size_t>(layer)].ranges.push_back(range);
    } else if (tensor.name == output) {
      layout.layers.back().ranges.push_back(range);
    }
  }
  for (LayerWeights& layer : layout.layers) layer.ranges = Tidy(std::move(layer.ranges), merge_gap);
  return layout;
}

}  // namespace fedglm
