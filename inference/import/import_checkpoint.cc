#include "inference/import/import_checkpoint.h"

#include <algorithm>
#include <memory>

#include "base/thread_pool.h"
#include "inference/gguf/encoded_rows.h"
#include "inference/import/checkpoint_config.h"
#include "inference/import/checkpoint_tensors.h"
#include "inference/import/checkpoint_vocabulary.h"
#include "inference/import/safetensors_shards.h"

namespace fedglm {
namespace {

BlockType TypeInCheckpoint(const PlannedTensor& tensor) {
  if (tensor.dimensions < 2 || tensor.source == nullptr) return BlockType::kF32;
  if (tensor.source->element_type == "F16") return BlockType::kF16;
  return tensor.source->element_type == "BF16" ? BlockType::kBF16 : BlockType::kF32;
}

// general.file_type where nothing is quantized: of most matrices.
uint32_t FileTypeOfMost(const std::map<BlockType, int64_t>& matrices) {
  BlockType most = BlockType::kF32;
  int64_t count = 0;
  for (const auto& [type, tensors] : matrices) {
    if (tensors > count) most = type, count = tensors;
  }
  return QuantizationMixFromName(FactsOf(most).name)->file_type;
}

}  // namespace

absl::StatusOr<QuantizeReport> ImportCheckpoint(const std::filesystem::path& folder, const std::filesystem::path& out,
                                                const ImportOptions& options, const TensorProgress& progress) {
  FEDGLM_ASSIGN_OR_RETURN(const CheckpointConfig config, ReadCheckpointConfig(folder));
  FEDGLM_ASSIGN_OR_RETURN(const CheckpointVocabulary vocabulary, ReadCheckpointVocabulary(folder, config));
  FEDGLM_ASSIGN_OR_RETURN(const SafetensorsShards shards, SafetensorsShards::Open(folder));
  absl::StatusOr<std::vector<PlannedTensor>> planned = PlanTensors(config, shards);
  if (!planned.ok()) return Annotate(planned.status(), folder.string());
  const std::vector<PlannedTensor> tensors = *std::move(planned);

  const Hyperparameters& h = config.hyperparameters;
  const MixedModel model{.layers = h.layers,
                         .queries_per_kv_head = h.heads / h.kv_heads,
                         .tied_embeddings = h.tied_embeddings,
                         .calibrated = false};
  QuantizeReport report;
  std::map<BlockType, int64_t> matrices;
  std::vector<BlockType> types;
  for (const PlannedTensor& tensor : tensors) {
    const MixedTensor mixed{tensor.name, tensor.dimensions, tensor.columns};
    const BlockType type = options.mix ? TypeInMix(*options.mix, mixed, model) : TypeInCheckpoint(tensor);
    types.push_back(type);
    ++report.tensors[type];
    if (tensor.dimensions > 1) ++matrices[type];
    report.weights += tensor.rows * tensor.columns;
  }

  FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<GgufWriter> writer, GgufWriter::Create(out));
  WriteHyperparameters(h, *writer);
  if (!config.mrope_sections.empty()) {
    writer->AddInt32s(std::string(h.architecture->name) + ".rope.dimension_sections", config.mrope_sections);
  }
  writer->AddUint32("general.file_type", options.mix ? options.mix->file_type : FileTypeOfMost(matrices));
  writer->AddUint32("general.quantization_version", 2);
  vocabulary.WriteTo(*writer);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const int64_t extent[] = {tensors[i].columns, tensors[i].rows};
    writer->DeclareTensor(tensors[i].name, types[i],
                          std::span(extent).first(static_cast<size_t>(tensors[i].dimensions)));
  }
  ThreadPool pool(options.threads);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const PlannedTensor& tensor = tensors[i];
    const auto read = [&](int64_t row, float* values) { tensor.ReadRow(row, values); };
    const auto go_on = [&] { return progress(static_cast<int64_t>(i), tensor.name); };
    FEDGLM_RETURN_IF_ERROR(
        AppendEncoded({tensor.name, types[i], tensor.rows, tensor.columns, read, nullptr}, *writer, pool, go_on));
  }
  FEDGLM_RETURN_IF_ERROR(shards.CheckIntact());
  FEDGLM_RETURN_IF_ERROR(writer->Finish());
  std::error_code error;
  report.bytes = std::filesystem::file_size(out, error);
  if (error) return FailedError(out.string() + ": " + error.message());
  return report;
}

}  // namespace fedglm
