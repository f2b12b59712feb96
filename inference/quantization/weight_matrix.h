// A weight matrix as it lies in a mapped GGUF file. It owns nothing: the file must outlive it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "inference/quantization/block_type.h"

namespace fedglm {

// `rows` outputs by `columns` inputs, row after row. y = W x.
struct WeightMatrix {
  BlockType type = BlockType::kF32;
  const std::byte* data = nullptr;
  int64_t rows = 0;
  int64_t columns = 0;

  const std::byte* Row(int64_t row) const { return data + row * RowBytes(type, columns); }
};

}  // namespace fedglm
