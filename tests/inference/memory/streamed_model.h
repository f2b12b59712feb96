// A GGUF file for tests of streaming: matrices of random bytes, a layer's tensors side by side or far apart.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "inference/gguf/gguf_file.h"
#include "inference/gguf/gguf_writer.h"

namespace fedglm {

struct StreamedModel {
  int64_t layers = 6;
  bool scattered = false;  // all layers' first matrices, then all layers' second ones, …
  int64_t matrices = 3;    // of a layer
  bool output = true;      // false: the token embedding is the output matrix too
  uint64_t seed = 1;

  // Sizes of a few to a few hundred KiB; none a multiple of a page.
  void Write(const std::filesystem::path& path) const {
    std::mt19937_64 random(seed);
    struct Tensor {
      std::string name;
      int64_t rows;
    };
    std::vector<Tensor> tensors = {{"token_embd.weight", 77}};
    const auto add = [&](int64_t layer, int64_t matrix) {
      tensors.push_back({"blk." + std::to_string(layer) + ".m" + std::to_string(matrix) + ".weight",
                         static_cast<int64_t>(3 + random() % 700)});
    };
    if (scattered) {
      for (int64_t m = 0; m < matrices; ++m) {
        for (int64_t i = 0; i < layers; ++i) add(i, m);
      }
    } else {
      for (int64_t i = 0; i < layers; ++i) {
        for (int64_t m = 0; m < matrices; ++m) add(i, m);
      }
    }
    if (output) tensors.push_back({"output.weight", 1501});
    tensors.push_back({"output_norm.weight", 1});

    constexpr int64_t kColumns = 72;  // of float32: 288 bytes a row
    auto writer = *GgufWriter::Create(path);
    writer->AddString("general.architecture", "llama");
    for (const Tensor& tensor : tensors) {
      const std::vector<int64_t> extent =
          tensor.rows == 1 ? std::vector<int64_t>{kColumns} : std::vector<int64_t>{kColumns, tensor.rows};
      writer->DeclareTensor(tensor.name, BlockType::kF32, extent);
    }
    for (const Tensor& tensor : tensors) {
      std::vector<uint32_t> values(static_cast<size_t>(kColumns * tensor.rows));
      for (uint32_t& value : values) value = static_cast<uint32_t>(random());
      ASSERT_TRUE(writer->Append(std::as_bytes(std::span(values))).ok());
    }
    ASSERT_TRUE(writer->Finish().ok());
  }
};

// The tensors that Acquire(layer) brings in.
inline std::vector<const GgufTensor*> TensorsOf(const GgufFile& file, int64_t layer, int64_t layers) {
  std::vector<const GgufTensor*> tensors;
  if (layer == layers) {
    const GgufTensor* const output = file.FindTensor("output.weight");
    return {output != nullptr ? output : file.FindTensor("token_embd.weight")};
  }
  const std::string prefix = "blk." + std::to_string(layer) + ".";
  for (const GgufTensor& tensor : file.tensors()) {
    if (tensor.name.starts_with(prefix) && tensor.rows() > 1) tensors.push_back(&tensor);
  }
  return tensors;
}

}  // namespace fedglm
