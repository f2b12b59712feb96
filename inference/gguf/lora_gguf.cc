#include "inference/gguf/lora_gguf.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/digest.h"
#include "inference/gguf/gguf_writer.h"
#include "inference/quantization/codec.h"

namespace fedglm {
namespace {

constexpr char kLoraA[] = ".lora_a", kLoraB[] = ".lora_b";
constexpr char kBaseSha256[] = "fedglm.base_sha256";

// How transformers names the layers of a text model within a model that also sees, and of one without its head.
constexpr std::string_view kLayerPrefixes[] = {"model.language_model.layers.", "language_model.model.layers.",
                                               "layers."};

// Names as LinearModule has them, where a module is one of a text model's layers.
absl::Status UseTextModelNames(Adapter& adapter) {
  std::map<std::string, LoraPair> renamed;
  for (auto& [name, pair] : adapter.modules) {
    std::string target = name;
    for (const std::string_view prefix : kLayerPrefixes) {
      if (name.compare(0, prefix.size(), prefix) == 0) target = "model.layers." + name.substr(prefix.size());
    }
    if (!renamed.emplace(target, std::move(pair)).second) return BadFileError("module '" + target + "' is there twice");
  }
  adapter.modules = std::move(renamed);
  return absl::OkStatus();
}

// Moves row i of `b` to row target(i).
template <typename Target>
Matrix PermuteRows(const Matrix& b, const Target& target) {
  Matrix permuted = Matrix::Zero(b.rows, b.columns);
  for (int64_t i = 0; i < b.rows; ++i) {
    std::copy_n(b.values.begin() + i * b.columns, b.columns, permuted.values.begin() + target(i) * b.columns);
  }
  return permuted;
}

absl::StatusOr<Adapter> Reorder(const Adapter& adapter, const std::vector<LinearModule>& modules, bool to_gguf) {
  std::map<std::string, const LinearModule*> by_name;
  for (const LinearModule& module : modules) by_name[module.peft_name] = &module;
  Adapter result = adapter;
  for (auto& [name, pair] : result.modules) {
    const auto found = by_name.find(name);
    if (found == by_name.end()) return BadFileError("the adapter's module '" + name + "' is not one of the base's");
    const LinearModule& module = *found->second;
    if (pair.a.columns != module.inputs || pair.b.rows != module.outputs) {
      return BadFileError("the adapter's module '" + name + "' has another shape than the base's layer");
    }
    if (module.gguf_row_of.empty()) continue;
    const std::vector<int32_t>& rows = module.gguf_row_of;
    if (to_gguf) {
      pair.b = PermuteRows(pair.b, [&](int64_t i) { return rows[static_cast<size_t>(i)]; });
    } else {
      std::vector<int64_t> inverse(rows.size());
      for (size_t i = 0; i < rows.size(); ++i) inverse[static_cast<size_t>(rows[i])] = static_cast<int64_t>(i);
      pair.b = PermuteRows(pair.b, [&](int64_t i) { return inverse[static_cast<size_t>(i)]; });
    }
  }
  return result;
}

absl::StatusOr<Matrix> DecodeMatrix(const GgufTensor& tensor) {
  Matrix matrix = Matrix::Zero(tensor.rows(), tensor.columns());
  for (int64_t r = 0; r < matrix.rows; ++r) {
    DecodeRow(tensor.type, tensor.AsMatrix().Row(r), matrix.values.data() + r * matrix.columns, matrix.columns);
  }
  for (const float value : matrix.values) {
    if (!std::isfinite(value)) return BadFileError("'" + tensor.name + "' has a value that is not finite");
  }
  return matrix;
}

// "blk.0.attn_q.weight.lora_a" → "blk.0.attn_q.weight"; empty if the name does not end so.
std::string BaseName(const std::string& name, std::string_view suffix) {
  if (name.size() <= suffix.size() || name.compare(name.size() - suffix.size(), suffix.size(), suffix) != 0) return "";
  return name.substr(0, name.size() - suffix.size());
}

}  // namespace

absl::StatusOr<Adapter> ToGgufOrder(const Adapter& adapter, const std::vector<LinearModule>& modules) {
  return Reorder(adapter, modules, true);
}

absl::StatusOr<Adapter> ToHuggingFaceOrder(const Adapter& adapter, const std::vector<LinearModule>& modules) {
  return Reorder(adapter, modules, false);
}

absl::Status ExportGgufLora(const Adapter& adapter, const GgufFile& base, const std::filesystem::path& path) {
  FEDGLM_ASSIGN_OR_RETURN(const Hyperparameters hyperparameters, ReadHyperparameters(base));
  const std::vector<LinearModule> modules = LinearModules(hyperparameters);
  FEDGLM_ASSIGN_OR_RETURN(const Adapter ordered, ToGgufOrder(adapter, modules));
  FEDGLM_ASSIGN_OR_RETURN(const std::string architecture, base.RequireString("general.architecture"));
  std::error_code error;
  if (std::filesystem::equivalent(base.path(), path, error)) return UsageError("the output is the base itself");
  FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<GgufWriter> writer, GgufWriter::Create(path));
  writer->AddString("general.type", "adapter");
  writer->AddString("adapter.type", "lora");
  writer->AddString("general.architecture", architecture);
  writer->AddString("general.name", adapter.config.base_model.empty() ? "fedglm adapter" : adapter.config.base_model);
  // llama.cpp scales by alpha / rank: for rank-stabilized LoRA the alpha that gives the same.
  writer->AddFloat32("adapter.lora.alpha",
                     static_cast<float>(adapter.config.scale() * static_cast<double>(adapter.config.rank)));

  if (adapter.provenance && !adapter.provenance->base_sha256.empty()) {
    writer->AddString(kBaseSha256, adapter.provenance->base_sha256);
  }

  std::vector<const Matrix*> in_order;
  for (const LinearModule& module : modules) {
    const auto found = ordered.modules.find(module.peft_name);
    if (found == ordered.modules.end()) continue;
    const Matrix& a = found->second.a;
    const Matrix& b = found->second.b;
    writer->DeclareTensor(module.gguf_name + kLoraA, BlockType::kF32, std::vector<int64_t>{a.columns, a.rows});
    writer->DeclareTensor(module.gguf_name + kLoraB, BlockType::kF32, std::vector<int64_t>{b.columns, b.rows});
    in_order.push_back(&a);
    in_order.push_back(&b);
  }
  for (const Matrix* matrix : in_order) {
    FEDGLM_RETURN_IF_ERROR(writer->Append(std::as_bytes(std::span(matrix->values))));
  }
  return writer->Finish();
}

absl::StatusOr<Adapter> ImportGgufLora(const std::filesystem::path& path, const GgufFile& base) {
  FEDGLM_ASSIGN_OR_RETURN(const std::shared_ptr<const GgufFile> file, GgufFile::Open(path));
  const std::string name = path.string();
  if (file->StringOr("general.type", "") != "adapter" || file->StringOr("adapter.type", "") != "lora") {
    return BadFileError(name + ": is not a LoRA adapter");
  }
  FEDGLM_ASSIGN_OR_RETURN(const Hyperparameters hyperparameters, ReadHyperparameters(base));
  if (file->StringOr("general.architecture", "") != base.StringOr("general.architecture", "?")) {
    return BadFileError(name + ": the adapter is for another architecture");
  }
  const std::vector<LinearModule> modules = LinearModules(hyperparameters);
  std::map<std::string, const LinearModule*> by_name;
  for (const LinearModule& module : modules) by_name[module.gguf_name] = &module;

  Adapter adapter;
  for (const GgufTensor& tensor : file->tensors()) {
    const std::string of_a = BaseName(tensor.name, kLoraA), of_b = BaseName(tensor.name, kLoraB);
    const auto module = by_name.find(of_a.empty() ? of_b : of_a);
    if (module == by_name.end())
      return BadFileError(name + ": '" + tensor.name + "' is none of the base's linear layers");
    FEDGLM_ASSIGN_OR_RETURN(Matrix matrix, DecodeMatrix(tensor));
    LoraPair& pair = adapter.modules[module->second->peft_name];
    (of_a.empty() ? pair.b : pair.a) = std::move(matrix);
  }
  FEDGLM_RETURN_IF_ERROR(file->CheckIntact());
  if (adapter.modules.empty()) return BadFileError(name + ": it has no LoRA modules");
  adapter.config.rank = adapter.modules.begin()->second.a.rows;
  adapter.config.alpha = file->NumberOr("adapter.lora.alpha", static_cast<double>(adapter.config.rank));
  // llama.cpp takes alpha 0 as a scale of one.
  if (adapter.config.alpha == 0) adapter.config.alpha = static_cast<double>(adapter.config.rank);
  for (const auto& [module, pair] : adapter.modules) {
    if (pair.a.rows != adapter.config.rank || pair.b.columns != adapter.config.rank || adapter.config.rank < 1) {
      return BadFileError(name + ": module '" + module + "' does not have two factors of one rank");
    }
  }
  if (const std::string base_sha256 = file->StringOr(kBaseSha256, ""); !base_sha256.empty()) {
    adapter.provenance = Provenance{};
    adapter.provenance->base_sha256 = base_sha256;
  }
  absl::StatusOr<Adapter> ordered = ToHuggingFaceOrder(adapter, modules);
  if (!ordered.ok()) return Annotate(ordered.status(), name);
  return ordered;
}

absl::StatusOr<Adapter> LoadAdapterFor(const std::filesystem::path& path, const GgufFile& base,
                                       const std::string& base_sha256) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return NotFoundError(path.string() + ": No such file or directory");
  const bool folder = std::filesystem::is_directory(path, error);
  FEDGLM_ASSIGN_OR_RETURN(Adapter adapter, folder ? LoadAdapter(path) : ImportGgufLora(path, base));
  FEDGLM_RETURN_IF_ERROR(Annotate(CheckBase(adapter, base_sha256), path.string()));
  FEDGLM_RETURN_IF_ERROR(Annotate(UseTextModelNames(adapter), path.string()));
  // Also checks that its modules and shapes are the base's.
  FEDGLM_ASSIGN_OR_RETURN(const Hyperparameters hyperparameters, ReadHyperparameters(base));
  FEDGLM_RETURN_IF_ERROR(Annotate(ToGgufOrder(adapter, LinearModules(hyperparameters)).status(), path.string()));
  return adapter;
}

}  // namespace fedglm
