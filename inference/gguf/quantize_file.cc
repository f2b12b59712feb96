#include "inference/gguf/quantize_file.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "base/thread_pool.h"
#include "inference/gguf/encoded_rows.h"
#include "inference/quantization/codec.h"
#include "inference/quantization/error_metric.h"

namespace fedglm {
namespace {

// A model of an architecture that the engine does not run can be quantized too: what the keys say is enough.
MixedModel FactsForMix(const GgufFile& file, bool calibrated) {
  const std::string architecture = file.StringOr("general.architecture", "");
  const int64_t heads = std::max<int64_t>(1, file.IntegerOr(architecture + ".attention.head_count", 1));
  const int64_t kv_heads = std::max<int64_t>(1, file.IntegerOr(architecture + ".attention.head_count_kv", heads));
  MixedModel model;
  model.layers = file.IntegerOr(architecture + ".block_count", 0);
  model.queries_per_kv_head = heads / kv_heads;
  model.tied_embeddings = file.FindTensor("output.weight") == nullptr;
  model.calibrated = calibrated;
  return model;
}

// Empty for a tensor whose inputs were not measured, and for an embedding: its rows are also read as they are, and
// error feedback would make each of them worse.
absl::StatusOr<std::optional<ErrorMetric>> MetricOf(const GgufTensor& tensor, const MomentsByTensor* moments) {
  if (moments == nullptr || tensor.name == "token_embd.weight") return std::nullopt;
  const auto found = moments->find(tensor.name);
  if (found == moments->end()) return std::nullopt;
  if (found->second->columns() != tensor.columns()) {
    return UsageError("the inputs of " + tensor.name + " had " + std::to_string(found->second->columns()) +
                      " columns, the tensor has " + std::to_string(tensor.columns()));
  }
  FEDGLM_ASSIGN_OR_RETURN(ErrorMetric metric, ErrorMetric::Make(*found->second));
  return metric;
}

}  // namespace

absl::StatusOr<QuantizeReport> QuantizeFile(const GgufFile& in, const std::filesystem::path& out,
                                            const QuantizeOptions& options, const TensorProgress& progress) {
  std::error_code error;
  if (std::filesystem::equivalent(in.path(), out, error)) return UsageError("input and output are the same file");

  FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<GgufWriter> writer, GgufWriter::Create(out));
  for (const auto& [key, value] : in.metadata()) {
    // The writer aligns as it always does, whatever the input's alignment is.
    if (key == "general.file_type" || key == "general.quantization_version" || key == "general.alignment") continue;
    FEDGLM_RETURN_IF_ERROR(writer->CopyMetadata(in, key));
  }
  writer->AddUint32("general.file_type", options.mix.file_type);
  writer->AddUint32("general.quantization_version", 2);
  const MixedModel model = FactsForMix(in, options.moments != nullptr);
  QuantizeReport report;
  std::vector<BlockType> types;
  for (const GgufTensor& tensor : in.tensors()) {
    const BlockType type = TypeInMix(options.mix, {tensor.name, tensor.dimensions, tensor.columns()}, model);
    writer->DeclareTensor(tensor.name, type, std::span(tensor.extent).first(static_cast<size_t>(tensor.dimensions)));
    types.push_back(type);
    ++report.tensors[type];
    report.weights += tensor.rows() * tensor.columns();
  }

  ThreadPool pool(options.threads);
  for (size_t i = 0; i < types.size(); ++i) {
    const GgufTensor& tensor = in.tensors()[i];
    const auto go_on = [&] { return progress(static_cast<int64_t>(i), tensor.name); };
    if (types[i] == tensor.type) {
      FEDGLM_RETURN_IF_ERROR(writer->Append(tensor.bytes));
      FEDGLM_RETURN_IF_ERROR(go_on());
      continue;
    }
    FEDGLM_ASSIGN_OR_RETURN(const std::optional<ErrorMetric> metric, MetricOf(tensor, options.moments));
    const WeightMatrix matrix = tensor.AsMatrix();
    const auto read = [&](int64_t row, float* values) {
      DecodeRow(matrix.type, matrix.Row(row), values, matrix.columns);
    };
    const EncodedRows rows = {tensor.name, types[i], matrix.rows, matrix.columns, read, metric ? &*metric : nullptr};
    FEDGLM_RETURN_IF_ERROR(AppendEncoded(rows, *writer, pool, go_on));
  }
  FEDGLM_RETURN_IF_ERROR(in.CheckIntact());
  FEDGLM_RETURN_IF_ERROR(writer->Finish());
  report.bytes = std::filesystem::file_size(out, error);
  if (error) return FailedError(out.string() + ": " + error.message());
  return report;
}

}  // namespace fedglm
