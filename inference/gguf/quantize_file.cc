#include "inference/gguf/quantize_file.h"

#include <atomic>
#include <vector>

#include "base/thread_pool.h"
#include "inference/quantization/codec.h"

namespace fedglm {
namespace {

// llama.cpp's general.file_type numbers ("mostly TYPE").
uint32_t FileTypeNumber(BlockType type) {
  switch (type) {
    case BlockType::kF32: return 0;
    case BlockType::kF16: return 1;
    case BlockType::kQ4_0: return 2;
    case BlockType::kQ4_1: return 3;
    case BlockType::kQ8_0: return 7;
    case BlockType::kQ5_0: return 8;
    case BlockType::kQ5_1: return 9;
    case BlockType::kBF16: return 32;
    default: return 1024;  // "guessed"
  }
}

bool IsVocabularyMatrix(const GgufTensor& tensor) {
  return tensor.name == "token_embd.weight" || tensor.name == "output.weight";
}

BlockType TypeFor(const GgufTensor& tensor, BlockType wanted) {
  if (tensor.dimensions < 2) return BlockType::kF32;
  BlockType type = wanted;
  if (IsVocabularyMatrix(tensor) && FactsOf(wanted).bytes_per_block * 32 < FactsOf(BlockType::kQ8_0).bytes_per_block * FactsOf(wanted).weights_per_block) {
    type = BlockType::kQ8_0;
  }
  if (tensor.columns() % FactsOf(type).weights_per_block != 0) type = BlockType::kF16;
  return type;
}

absl::Status Convert(const GgufTensor& tensor, BlockType type, ThreadPool& pool, std::vector<std::byte>& out) {
  const WeightMatrix matrix = tensor.AsMatrix();
  const int64_t row_bytes = RowBytes(type, matrix.columns);
  out.resize(static_cast<size_t>(row_bytes * matrix.rows));
  std::atomic<bool> failed = false;
  pool.ParallelFor(matrix.rows, 16, [&](int64_t begin, int64_t end) {
    std::vector<float> row(static_cast<size_t>(matrix.columns));
    for (int64_t r = begin; r < end; ++r) {
      DecodeRow(matrix.type, matrix.Row(r), row.data(), matrix.columns);
      if (!EncodeRow(type, row.data(), out.data() + r * row_bytes, matrix.columns).ok()) failed = true;
    }
  });
  if (failed) return FailedError(tensor.name + ": could not be encoded");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<uint64_t> QuantizeFile(const GgufFile& in, const std::filesystem::path& out, BlockType type, int threads,
                                      const TensorProgress& progress) {
  if (!CanEncode(type)) return UsageError("cannot write " + std::string(FactsOf(type).name));
  std::error_code error;
  if (std::filesystem::equivalent(in.path(), out, error)) return UsageError("input and output are the same file");

  FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<GgufWriter> writer, GgufWriter::Create(out));
  for (const auto& [key, value] : in.metadata()) {
    if (key != "general.file_type" && key != "general.quantization_version" && key != "general.alignment") {
      FEDGLM_RETURN_IF_ERROR(writer->CopyMetadata(in, key));
    }
  }
  writer->AddUint32("general.file_type", FileTypeNumber(type));
  writer->AddUint32("general.quantization_version", 2);
  for (const GgufTensor& tensor : in.tensors()) {
    const BlockType target = tensor.type == type ? type : TypeFor(tensor, type);
    writer->DeclareTensor(tensor.name, target,
                          std::span<const int64_t>(tensor.extent.data(), static_cast<size_t>(tensor.dimensions)));
  }

  ThreadPool pool(threads);
  std::vector<std::byte> converted;
  int64_t done = 0;
  for (const GgufTensor& tensor : in.tensors()) {
    const BlockType target = tensor.type == type ? type : TypeFor(tensor, type);
    if (target == tensor.type) {
      FEDGLM_RETURN_IF_ERROR(writer->Append(tensor.bytes));
    } else {
      FEDGLM_RETURN_IF_ERROR(Convert(tensor, target, pool, converted));
      FEDGLM_RETURN_IF_ERROR(writer->Append(converted));
    }
    FEDGLM_RETURN_IF_ERROR(progress(++done, tensor.name));
  }
  FEDGLM_RETURN_IF_ERROR(writer->Finish());
  const uint64_t bytes = std::filesystem::file_size(out, error);
  if (error) return FailedError(out.string() + ": " + error.message());
  return bytes;
}

}  // namespace fedglm
