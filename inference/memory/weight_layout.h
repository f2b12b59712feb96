// Where a model's weights lie in its file, by what the forward pass acquires at once.
#pragma once

#include <cstdint>
#include <vector>

#include "inference/gguf/gguf_file.h"

namespace fedglm {

// Offsets and sizes of reads around the page cache are multiples of this: the largest logical block of usual disks.
inline constexpr uint64_t kReadAlignment = 4096;

struct FileRange {
  uint64_t offset = 0;
  uint64_t bytes = 0;
  uint64_t end() const { return offset + bytes; }
  friend bool operator==(const FileRange&, const FileRange&) = default;
};

// A layer's matrices, or the output matrix. Ranges are widened to kReadAlignment (the last may pass the file's end),
// ascend, and do not overlap. Most files have one for each layer; others keep a layer's tensors apart.
struct LayerWeights {
  std::vector<FileRange> ranges;

  uint64_t begin() const { return ranges.empty() ? 0 : ranges.front().offset; }
  uint64_t span() const { return ranges.empty() ? 0 : ranges.back().end() - ranges.front().offset; }
  uint64_t bytes() const;
};

struct WeightLayout {
  // [layers + 1], by the number that WeightResidency::Acquire takes: the last is the output matrix.
  std::vector<LayerWeights> layers;
  uint64_t metadata_bytes = 0;  // before the first tensor
  uint64_t vector_values = 0;   // of norms and biases, which the forward pass decodes to float32 when it is made

  int64_t output() const { return static_cast<int64_t>(layers.size()) - 1; }
  uint64_t bytes() const;  // of all layers and the output matrix
};

// `layers` as in Hyperparameters. The token embedding is not part of it, unless it is the output matrix too: a token
// reads one row of it, through the mapping. Parts closer together than `merge_gap` are read as one.
WeightLayout LayOutWeights(const GgufFile& file, int64_t layers, uint64_t merge_gap = uint64_t{64} << 10);

}  // namespace fedglm
