// fedglm adapter: what can be done with an adapter folder without training it.
#include "adapter/adapter.h"

#include <cmath>
#include <cstdio>

#include "adapter/tensors.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/process.h"
#include "base/progress.h"
#include "base/tls.h"
#include "cli/command.h"
#include "cli/model_options.h"
#include "inference/gguf/architecture.h"
#include "inference/gguf/lora_gguf.h"
#include "inference/gguf/merge.h"
#include "inference/gguf/new_adapter.h"

namespace fedglm::cli {
namespace {

struct AdapterOptions {
  std::string model, adapter, other, out, key, type;
  AdapterConfig config;
  uint64_t seed = 1;
  bool json = false;
};

// What a federation starts from: it changes nothing yet.
absl::Status Init(const AdapterOptions& options) {
  FEDGLM_ASSIGN_OR_RETURN(const std::shared_ptr<const GgufFile> base, GgufFile::Open(options.model));
  FEDGLM_ASSIGN_OR_RETURN(const Hyperparameters hyperparameters, ReadHyperparameters(*base));
  FEDGLM_ASSIGN_OR_RETURN(const std::string base_sha256, ModelSha256(options.model));
  FEDGLM_ASSIGN_OR_RETURN(const Adapter adapter,
                          MakeNewAdapter(hyperparameters, base_sha256, options.config, options.seed));
  FEDGLM_RETURN_IF_ERROR(SaveAdapter(adapter, options.out));
  std::fprintf(stderr, "wrote %s: %zu modules of rank %lld\n", options.out.c_str(), adapter.modules.size(),
               static_cast<long long>(adapter.config.rank));
  return absl::OkStatus();
}

absl::Status ExportGguf(const AdapterOptions& options) {
  FEDGLM_ASSIGN_OR_RETURN(const std::shared_ptr<const GgufFile> base, GgufFile::Open(options.model));
  FEDGLM_ASSIGN_OR_RETURN(const std::shared_ptr<const Adapter> adapter, OpenAdapter(options.adapter, *base));
  FEDGLM_RETURN_IF_ERROR(ExportGgufLora(*adapter, *base, options.out));
  std::fprintf(stderr, "wrote %s\n", options.out.c_str());
  return absl::OkStatus();
}

absl::Status Merge(const AdapterOptions& options) {
  FEDGLM_ASSIGN_OR_RETURN(const std::shared_ptr<const GgufFile> base, GgufFile::Open(options.model));
  FEDGLM_ASSIGN_OR_RETURN(const std::shared_ptr<const Adapter> adapter, OpenAdapter(options.adapter, *base));
  std::optional<BlockType> type;
  if (!options.type.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(type, BlockTypeFromName(options.type));
  }
  Progress progress("merge", static_cast<int64_t>(base->tensors().size()));
  FEDGLM_RETURN_IF_ERROR(MergeAdapter(*base, *adapter, type, options.out, [&](int64_t done, const std::string& name) {
    progress.Update(done, name);
    return StopRequested() ? CancelledError("stopped") : absl::OkStatus();
  }));
  progress.Finish();
  std::fprintf(stderr, "wrote %s\n", options.out.c_str());
  return absl::OkStatus();
}

absl::Status Verify(const AdapterOptions& options) {
  FEDGLM_ASSIGN_OR_RETURN(const Adapter adapter, LoadAdapter(options.adapter));
  if (!adapter.provenance) return RefusedError(options.adapter + " has no provenance.json: nothing to verify");
  const Provenance& provenance = *adapter.provenance;
  if (provenance.weights_sha256 != WeightsSha256(adapter)) {
    return RefusedError("the weights are not those that provenance.json names");
  }
  if (!options.model.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(const std::string base_sha256, ModelSha256(options.model));
    FEDGLM_RETURN_IF_ERROR(CheckBase(adapter, base_sha256));
  }
  if (options.key.empty()) {
    std::printf("weights are intact%s; no --key: the signature was not checked\n",
                options.model.empty() ? "" : ", base matches");
    return absl::OkStatus();
  }
  if (provenance.signature.empty()) return RefusedError("the adapter is not signed");
  FEDGLM_ASSIGN_OR_RETURN(const PublicKeyPem key, ReadPem<PublicKeyPem>(options.key));
  FEDGLM_ASSIGN_OR_RETURN(const std::string signature, Base64UrlDecode(provenance.signature));
  FEDGLM_RETURN_IF_ERROR(VerifySignature(key, SignedBytes(adapter.config, provenance), signature));
  std::printf("weights are intact%s, signature is good: federation %s, round %lld, %zu contributors\n",
              options.model.empty() ? "" : ", base matches", provenance.federation.c_str(),
              static_cast<long long>(provenance.round), provenance.contributors.size());
  return absl::OkStatus();
}

// The norm of the difference of each factor, relative to the first adapter's.
absl::Status Diff(const AdapterOptions& options) {
  FEDGLM_ASSIGN_OR_RETURN(const Adapter a, LoadAdapter(options.adapter));
  FEDGLM_ASSIGN_OR_RETURN(const Adapter b, LoadAdapter(options.other));
  const TensorMap first = TensorsOf(a, UpdateForm::kChangeOfFactors);
  TensorMap difference = TensorsOf(b, UpdateForm::kChangeOfFactors);
  FEDGLM_RETURN_IF_ERROR(AddScaled(-1.0, first, difference));
  Json tensors = Json::array();
  for (const auto& [name, matrix] : difference) {
    const double norm = NormOf({{name, matrix}}), reference = NormOf({{name, first.at(name)}});
    if (options.json) {
      tensors.push_back({{"name", name}, {"difference", norm}, {"norm", reference}});
    } else {
      std::printf("%-56s difference %10.4g  norm %10.4g\n", name.c_str(), norm, reference);
    }
  }
  const double total = NormOf(difference), reference = NormOf(first);
  if (options.json) {
    const Json result = {{"version", 1}, {"difference", total}, {"norm", reference}, {"tensors", tensors}};
    std::printf("%s\n", DumpJson(result).c_str());
  } else {
    std::printf("%-56s difference %10.4g  norm %10.4g\n", "all", total, reference);
  }
  return absl::OkStatus();
}

}  // namespace

void AddAdapter(CommandLine& line) {
  Command group = line.AddGroup("adapter", "make, export, merge, verify and compare adapters");
  auto options = std::make_shared<AdapterOptions>();
  Command app = line.AddTo(group, "init", "a new adapter that changes nothing yet: what a federation starts from",
                           [options] { return Init(*options); });
  app.Add("-m,--model", options->model, "its base").Required();
  app.Add("--out", options->out, "adapter folder to write").Required();
  app.Add("--rank", options->config.rank).ShowDefault().Between(1, 1024);
  app.Add("--alpha", options->config.alpha).ShowDefault().NumberBetween(1e-6, 1e6);
  app.Add("--target", options->config.target_modules, "q_proj, …; default: every linear layer");
  app.Add("--seed", options->seed, "of the A factors").ShowDefault();

  app =
      line.AddTo(group, "export-gguf", "as a GGUF LoRA file for llama.cpp", [options] { return ExportGguf(*options); });
  app.Add("adapter", options->adapter, "adapter folder").Required();
  app.Add("out", options->out, "file to write").Required();
  app.Add("-m,--model", options->model, "its base").Required();

  app = line.AddTo(group, "merge", "write the base with the adapter added to its weights",
                   [options] { return Merge(*options); });
  app.Add("adapter", options->adapter, "adapter folder").Required();
  app.Add("out", options->out, "GGUF to write").Required();
  app.Add("-m,--model", options->model, "its base").Required();
  app.Add("--type", options->type, "block type of the merged matrices; default: the base's");

  app = line.AddTo(group, "verify", "check digest, base and signature", [options] { return Verify(*options); });
  app.Add("adapter", options->adapter, "adapter folder").Required();
  app.Add("-m,--model", options->model, "the base it should be for");
  app.Add("--key", options->key, "the aggregator's public signing key (PEM)");

  app = line.AddTo(group, "diff", "how far two adapters are apart", [options] { return Diff(*options); });
  app.Add("first", options->adapter).Required();
  app.Add("second", options->other).Required();
  app.AddFlag("--json", options->json);
}

}  // namespace fedglm::cli
