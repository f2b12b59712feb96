#include "inference/import/checkpoint_tensors.h"

#include <algorithm>
#include <set>

namespace fedglm {
namespace {

std::string ShapeText(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t extent : shape) text += (text.empty() ? "" : " x ") + std::to_string(extent);
  return text.empty() ? "a single number" : text;
}

bool EndsWith(const std::string& text, std::string_view end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

class Planner {
 public:
  // glm4v's text part has its names below "model.language_model.".
  Planner(const SafetensorsShards& shards)
      : shards_(shards), nested_(shards.Find("model.language_model.embed_tokens.weight") != nullptr) {}

  std::string SourceName(const std::string& name) const {
    const std::string_view root = "model.";
    return nested_ && name.rfind(root, 0) == 0 ? "model.language_model." + name.substr(root.size()) : name;
  }

  // rows 0: a vector.
  void Add(const std::string& gguf_name, const std::string& name, int64_t rows, int64_t columns,
           const std::vector<int32_t>& gguf_row_of = {}) {
    const std::string source_name = SourceName(name);
    const ShardTensor* const source = shards_.Find(source_name);
    if (source == nullptr) return Fail(source_name, "is missing");
    used_.insert(source_name);
    const std::vector<int64_t> expected = rows == 0 ? std::vector{columns} : std::vector{rows, columns};
    if (source->shape != expected) {
      return Fail(source_name, "is " + ShapeText(source->shape) + ", expected " + ShapeText(expected));
    }
    if (!source->IsFloat()) return Fail(source_name, "is of type " + source->element_type + ", not F32, F16 or BF16");
    PlannedTensor tensor;
    tensor.name = gguf_name;
    tensor.source = source;
    tensor.dimensions = static_cast<int>(expected.size());
    tensor.rows = std::max<int64_t>(rows, 1);
    tensor.columns = columns;
    tensor.source_rows.resize(gguf_row_of.size());
    for (size_t i = 0; i < gguf_row_of.size(); ++i) {
      tensor.source_rows[static_cast<size_t>(gguf_row_of[i])] = static_cast<int32_t>(i);
    }
    tensors_.push_back(std::move(tensor));
  }

  void AddBias(const LinearModule& module) {
    const std::string name = module.peft_name + ".bias";
    if (!module.needs_bias && shards_.Find(SourceName(name)) == nullptr) return;
    const std::string stem = module.gguf_name.substr(0, module.gguf_name.size() - std::string_view("weight").size());
    Add(stem + "bias", name, 0, module.outputs, module.gguf_row_of);
  }

  void AddComputed(const std::string& gguf_name, std::vector<float> values) {
    PlannedTensor tensor;
    tensor.name = gguf_name;
    tensor.columns = static_cast<int64_t>(values.size());
    tensor.values = std::move(values);
    tensors_.push_back(std::move(tensor));
  }

  void Ignore(const std::string& name) { used_.insert(SourceName(name)); }

  absl::StatusOr<std::vector<PlannedTensor>> Finish() {
    FEDGLM_RETURN_IF_ERROR(status_);
    for (const auto& [name, tensor] : shards_.tensors()) {
      if (used_.contains(name) || EndsWith(name, ".rotary_emb.inv_freq")) continue;
      if (nested_ && name.rfind("model.visual.", 0) == 0) continue;
      return BadFileError("tensor '" + name + "' is none that this architecture has");
    }
    return std::move(tensors_);
  }

 private:
  void Fail(const std::string& name, const std::string& what) {
    if (status_.ok()) status_ = BadFileError("tensor '" + name + "' " + what);
  }

  const SafetensorsShards& shards_;
  bool nested_;
  std::vector<PlannedTensor> tensors_;
  std::set<std::string> used_;
  absl::Status status_;
};

void AddNorms(const Hyperparameters& h, int64_t layer, Planner& planner) {
  const std::string gguf = "blk." + std::to_string(layer) + ".", model = "model.layers." + std::to_string(layer) + ".";
  for (const NormRow& norm : h.architecture->norms) {
    planner.Add(gguf + std::string(norm.gguf) + ".weight", model + std::string(norm.checkpoint) + ".weight", 0,
                h.Size(norm.width));
  }
}

}  // namespace

void PlannedTensor::ReadRow(int64_t row, float* out) const {
  if (source == nullptr) {
    std::copy(values.begin(), values.end(), out);
    return;
  }
  const bool vector = dimensions == 1;
  if (source_rows.empty() || !vector) {
    return source->ReadRow(source_rows.empty() ? row : source_rows[static_cast<size_t>(row)], out);
  }
  // A bias: its numbers are in the order of the matrix's rows.
  std::vector<float> whole(static_cast<size_t>(columns));
  source->ReadRow(0, whole.data());
  for (size_t i = 0; i < whole.size(); ++i) out[i] = whole[static_cast<size_t>(source_rows[i])];
}

absl::StatusOr<std::vector<PlannedTensor>> PlanTensors(const CheckpointConfig& config,
                                                       const SafetensorsShards& shards) {
  const Hyperparameters& h = config.hyperparameters;
  Planner planner(shards);
  planner.Add("token_embd.weight", "model.embed_tokens.weight", h.vocabulary, h.hidden);
  if (!config.rotary_divisors.empty()) planner.AddComputed("rope_freqs.weight", config.rotary_divisors);
  int64_t layer = -1;
  for (const LinearModule& module : LinearModules(h)) {
    if (module.layer != layer) AddNorms(h, layer = module.layer, planner);
    planner.Add(module.gguf_name, module.peft_name + ".weight", module.outputs, module.inputs, module.gguf_row_of);
    planner.AddBias(module);
  }
  planner.Add("output_norm.weight", "model.norm.weight", 0, h.hidden);
  if (h.tied_embeddings) {
    planner.Ignore("lm_head.weight");  // some checkpoints store the embedding a second time
  } else {
    planner.Add("output.weight", "lm_head.weight", h.vocabulary, h.hidden);
  }
  return planner.Finish();
}

}  // namespace fedglm
