// fedglm inspect: what a model or an adapter is.
#include <cstdio>
#include <map>

#include "adapter/tensors.h"
#include "base/configuration.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/model_options.h"

namespace fedglm::cli {
namespace {

struct InspectOptions {
  std::string path;
  bool json = false;
  bool tensors = false;
};

Json ToJson(const GgufValue& value) {
  struct Visitor {
    Json operator()(const std::shared_ptr<const GgufArray>& array) const {
      const size_t count = array->strings.size() + array->integers.size() + array->numbers.size();
      return {{"array_of", array->strings.empty() ? "numbers" : "strings"}, {"count", count}};
    }
    Json operator()(const std::string& text) const { return text; }
    Json operator()(uint64_t number) const { return number; }
    Json operator()(int64_t number) const { return number; }
    Json operator()(double number) const { return number; }
    Json operator()(bool flag) const { return flag; }
  };
  return std::visit(Visitor(), value);
}

Json DescribeModel(const GgufFile& file, const absl::StatusOr<Hyperparameters>& architecture) {
  std::map<std::string, std::pair<int64_t, uint64_t>> types;
  int64_t weights = 0;
  Json tensors = Json::array();
  for (const GgufTensor& tensor : file.tensors()) {
    auto& [count, bytes] = types[std::string(FactsOf(tensor.type).name)];
    ++count;
    bytes += tensor.bytes.size();
    weights += tensor.rows() * tensor.columns();
    Json shape = Json::array();
    for (int i = 0; i < tensor.dimensions; ++i) shape.push_back(tensor.extent[static_cast<size_t>(i)]);
    tensors.push_back({{"name", tensor.name}, {"type", std::string(FactsOf(tensor.type).name)}, {"shape", shape}});
  }
  Json by_type = Json::object(), metadata = Json::object();
  for (const auto& [name, totals] : types) by_type[name] = {{"tensors", totals.first}, {"bytes", totals.second}};
  for (const auto& [key, value] : file.metadata()) metadata[key] = ToJson(value);
  Json result = {
      {"version", 1},       {"kind", "model"}, {"gguf_version", file.version()}, {"bytes", file.file_bytes()},
      {"weights", weights}, {"types", by_type}};
  if (architecture.ok()) {
    const Hyperparameters& h = *architecture;
    result["architecture"] = {{"name", h.architecture->name},
                              {"vocabulary", h.vocabulary},
                              {"context_length", h.context_length},
                              {"layers", h.layers},
                              {"hidden", h.hidden},
                              {"feed_forward", h.feed_forward},
                              {"heads", h.heads},
                              {"kv_heads", h.kv_heads},
                              {"head_size", h.head_size},
                              {"rotary_size", h.rotary_size},
                              {"tied_embeddings", h.tied_embeddings}};
  } else {
    result["not_runnable"] = Message(architecture.status());
  }
  result["metadata"] = metadata;
  result["tensors"] = tensors;
  return result;
}

void PrintModel(const GgufFile& file, const Json& description, bool with_tensors) {
  std::printf("%s: GGUF v%u, %s, %zu tensors, %.2f million weights\n", file.path().c_str(), file.version(),
              FormatByteSize(file.file_bytes()).c_str(), file.tensors().size(),
              description["weights"].get<double>() / 1e6);
  if (description.contains("not_runnable")) {
    std::printf("not runnable here: %s\n", description["not_runnable"].get<std::string>().c_str());
  } else {
    for (const auto& [key, value] : description["architecture"].items()) {
      std::printf("  %-16s %s\n", key.c_str(), DumpJson(value).c_str());
    }
  }
  for (const auto& [type, totals] : description["types"].items()) {
    std::printf("  %-8s %4lld tensors  %s\n", type.c_str(), static_cast<long long>(totals["tensors"].get<int64_t>()),
                FormatByteSize(totals["bytes"].get<uint64_t>()).c_str());
  }
  std::printf("metadata\n");
  for (const auto& [key, value] : description["metadata"].items()) {
    std::string text = DumpJson(value);
    if (text.size() > 90) text = text.substr(0, 87) + "...";
    std::printf("  %-44s %s\n", key.c_str(), text.c_str());
  }
  if (!with_tensors) return;
  std::printf("tensors\n");
  for (const Json& tensor : description["tensors"]) {
    std::printf("  %-36s %-7s %s\n", tensor["name"].get<std::string>().c_str(),
                tensor["type"].get<std::string>().c_str(), DumpJson(tensor["shape"]).c_str());
  }
}

absl::Status InspectModel(const InspectOptions& options) {
  FEDGLM_ASSIGN_OR_RETURN(const std::shared_ptr<const GgufFile> file, GgufFile::Open(options.path));
  const Json description = DescribeModel(*file, ReadHyperparameters(*file));
  if (options.json) {
    std::printf("%s\n", DumpJson(description, 1).c_str());
  } else {
    PrintModel(*file, description, options.tensors);
  }
  return absl::OkStatus();
}

absl::Status InspectAdapter(const InspectOptions& options) {
  FEDGLM_ASSIGN_OR_RETURN(const Adapter adapter, LoadAdapter(options.path));
  int64_t weights = 0;
  Json modules = Json::array();
  for (const auto& [name, pair] : adapter.modules) {
    weights += static_cast<int64_t>(pair.a.values.size() + pair.b.values.size());
    modules.push_back({{"name", name}, {"inputs", pair.a.columns}, {"outputs", pair.b.rows}});
  }
  Json result = {{"version", 1},
                 {"kind", "adapter"},
                 {"rank", adapter.config.rank},
                 {"alpha", adapter.config.alpha},
                 {"scale", adapter.config.scale()},
                 {"target_modules", adapter.config.target_modules},
                 {"weights", weights},
                 {"upload_bytes_freeze_a", SerializeTensors(TensorsOf(adapter, UpdateForm::kChangeOfB)).size()}};
  if (adapter.provenance) {
    const Provenance& p = *adapter.provenance;
    result["provenance"] = {{"base_sha256", p.base_sha256},
                            {"federation", p.federation},
                            {"round", p.round},
                            {"mode", p.mode},
                            {"contributors", p.contributors},
                            {"weights_sha256", p.weights_sha256},
                            {"signed", !p.signature.empty()}};
  }
  result["modules"] = modules;
  if (options.json) {
    std::printf("%s\n", DumpJson(result, 1).c_str());
    return absl::OkStatus();
  }
  std::printf("%s: LoRA adapter, %zu modules, %.2f million weights\n", options.path.c_str(), adapter.modules.size(),
              static_cast<double>(weights) / 1e6);
  for (const auto& [key, value] : result.items()) {
    if (key != "modules" && key != "kind" && key != "version")
      std::printf("  %-22s %s\n", key.c_str(), DumpJson(value).c_str());
  }
  if (options.tensors) {
    for (const Json& module : modules) std::printf("  %s\n", DumpJson(module).c_str());
  }
  return absl::OkStatus();
}

}  // namespace

void AddInspect(CommandLine& line) {
  auto options = std::make_shared<InspectOptions>();
  Command app = line.Add("inspect", "what a model (GGUF) or an adapter (PEFT folder) is", [options] {
    std::error_code error;
    return std::filesystem::is_directory(options->path, error) ? InspectAdapter(*options) : InspectModel(*options);
  });
  app.Add("path", options->path, "a GGUF file or an adapter folder").Required();
  app.AddFlag("--tensors", options->tensors, "list every tensor or module");
  app.AddFlag("--json", options->json);
}

}  // namespace fedglm::cli
