#include "inference/gguf/merge.h"

#include <map>

#include "inference/gguf/architecture.h"
#include "inference/gguf/lora_gguf.h"
#include "inference/quantization/codec.h"

namespace fedglm {
namespace {

BlockType MergedType(const GgufTensor& tensor, std::optional<BlockType> wanted) {
  const BlockType type = wanted ? *wanted : tensor.type;
  return tensor.columns() % FactsOf(type).weights_per_block == 0 ? type : BlockType::kF16;
}

absl::Status AppendMerged(const GgufTensor& tensor, const LoraPair& pair, float scale, BlockType type,
                          GgufWriter& writer) {
  const int64_t columns = tensor.columns();
  std::vector<float> row(static_cast<size_t>(columns));
  std::vector<std::byte> bytes(static_cast<size_t>(RowBytes(type, columns)));
  for (int64_t r = 0; r < tensor.rows(); ++r) {
    DecodeRow(tensor.type, tensor.AsMatrix().Row(r), row.data(), columns);
    for (int64_t k = 0; k < pair.a.rows; ++k) {
      const float factor = scale * pair.b.values[static_cast<size_t>(r * pair.b.columns + k)];
      const float* const a = pair.a.values.data() + k * columns;
      for (int64_t c = 0; c < columns; ++c) row[static_cast<size_t>(c)] += factor * a[c];
    }
    FEDGLM_RETURN_IF_ERROR(EncodeRow(type, row.data(), bytes.data(), columns));
    FEDGLM_RETURN_IF_ERROR(writer.Append(bytes));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status MergeAdapter(const GgufFile& base, const Adapter& adapter, std::optional<BlockType> type,
                          const std::filesystem::path& out, const TensorProgress& progress) {
  std::error_code error;
  if (std::filesystem::equivalent(base.path(), out, error)) return UsageError("the output is the base itself");
  FEDGLM_ASSIGN_OR_RETURN(const Hyperparameters h, ReadHyperparameters(base));
  const std::vector<LinearModule> modules = LinearModules(h);
  FEDGLM_ASSIGN_OR_RETURN(const Adapter ordered, ToGgufOrder(adapter, modules));
  std::map<std::string, const LoraPair*> pairs;
  for (const LinearModule& module : modules) {
    const auto found = ordered.modules.find(module.peft_name);
    if (found != ordered.modules.end()) pairs[module.gguf_name] = &found->second;
  }
  FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<GgufWriter> writer, GgufWriter::Create(out));
  for (const auto& [key, value] : base.metadata()) {
    // The writer aligns as it always does, whatever the base's alignment is.
    if (key != "general.alignment") FEDGLM_RETURN_IF_ERROR(writer->CopyMetadata(base, key));
  }
  for (const GgufTensor& tensor : base.tensors()) {
    const bool merged = pairs.contains(tensor.name);
    writer->DeclareTensor(tensor.name, merged ? MergedType(tensor, type) : tensor.type,
                          std::span(tensor.extent).first(static_cast<size_t>(tensor.dimensions)));
  }
  const float scale = static_cast<float>(adapter.config.scale());
  int64_t done = 0;
  for (const GgufTensor& tensor : base.tensors()) {
    if (const auto pair = pairs.find(tensor.name); pair != pairs.end()) {
      FEDGLM_RETURN_IF_ERROR(AppendMerged(tensor, *pair->second, scale, MergedType(tensor, type), *writer));
    } else {
      FEDGLM_RETURN_IF_ERROR(writer->Append(tensor.bytes));
    }
    FEDGLM_RETURN_IF_ERROR(progress(++done, tensor.name));
  }
  FEDGLM_RETURN_IF_ERROR(base.CheckIntact());
  return writer->Finish();
}

}  // namespace fedglm
