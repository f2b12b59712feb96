#include "adapter/peft.h"
#include "base/json.h"

#include <cmath>
#include <set>
#include <utility>

namespace fedglm {
namespace {

constexpr std::string_view kPrefix = "base_model.model.";
constexpr int64_t kMaxRank = 4096;

// Keys whose values, if not empty or false, mean arithmetic that is not done here.
constexpr const char* kMustBeOff[] = {
    "use_dora",  "fan_in_fan_out",    "rank_pattern", "alpha_pattern", "modules_to_save",
    "lora_bias", "layer_replication", "use_qalora",   "arrow_config",  "alora_invocation_tokens"};

// Ways to begin that take something out of the base's weights: the adapter fits only the base that is left.
constexpr std::string_view kChangesBase[] = {"pissa", "olora", "corda", "loftq"};

bool IsOff(const Json& value) {
  return value.is_null() || (value.is_boolean() && !value.get<bool>()) || (value.is_structured() && value.empty());
}

absl::StatusOr<std::vector<std::string>> TargetModules(const Json& json) {
  std::vector<std::string> targets;
  const auto member = json.find("target_modules");
  if (member == json.end() || member->is_null()) return targets;
  if (member->is_string()) {
    targets.push_back(member->get<std::string>());
    return targets;
  }
  if (!member->is_array()) return BadFileError("\"target_modules\" must be an array of strings");
  for (const Json& target : *member) {
    if (!target.is_string()) return BadFileError("\"target_modules\" must be an array of strings");
    targets.push_back(target.get<std::string>());
  }
  return targets;
}

// "base_model.model.X.lora_A[.default].weight" → {X, 'A'}.
bool SplitName(std::string_view name, std::string& module, char& factor) {
  if (name.substr(0, kPrefix.size()) == kPrefix) name.remove_prefix(kPrefix.size());
  for (const std::string_view suffix : {".default.weight", ".weight"}) {
    if (name.size() > suffix.size() && name.substr(name.size() - suffix.size()) == suffix) {
      name.remove_suffix(suffix.size());
      break;
    }
  }
  constexpr std::string_view kFactor = ".lora_A";
  if (name.size() <= kFactor.size()) return false;
  const std::string_view tail = name.substr(name.size() - kFactor.size());
  if (tail != ".lora_A" && tail != ".lora_B") return false;
  factor = tail.back();
  module = std::string(name.substr(0, name.size() - kFactor.size()));
  return true;
}

absl::Status CheckFinite(const std::string& module, const Matrix& matrix) {
  for (const float value : matrix.values) {
    if (!std::isfinite(value)) return BadFileError("module '" + module + "' has a value that is not finite");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<AdapterConfig> PeftConfigFromJson(const Json& json) {
  FEDGLM_ASSIGN_OR_RETURN(const std::string type, OptionalString(json, "peft_type", "LORA"));
  if (type != "LORA") return BadFileError("peft_type '" + type + "' is not supported (LORA is)");
  FEDGLM_ASSIGN_OR_RETURN(const std::string bias, OptionalString(json, "bias", "none"));
  if (bias != "none") return BadFileError("trained biases are not supported");
  for (const char* key : kMustBeOff) {
    const auto member = json.find(key);
    if (member != json.end() && !IsOff(*member)) return BadFileError(std::string("\"") + key + "\" is not supported");
  }
  if (const auto member = json.find("init_lora_weights"); member != json.end() && member->is_string()) {
    const std::string initialization = member->get<std::string>();
    for (const std::string_view prefix : kChangesBase) {  // "pissa_niter_16" as well
      if (std::string_view(initialization).substr(0, prefix.size()) == prefix) {
        return BadFileError("init_lora_weights '" + initialization + "' is not supported");
      }
    }
  }
  AdapterConfig config;
  FEDGLM_ASSIGN_OR_RETURN(config.rank, RequireInteger(json, "r"));
  if (config.rank < 1 || config.rank > kMaxRank) return BadFileError("\"r\" is out of range");
  FEDGLM_ASSIGN_OR_RETURN(config.alpha, OptionalNumber(json, "lora_alpha", static_cast<double>(config.rank)));
  if (!std::isfinite(config.alpha)) return BadFileError("\"lora_alpha\" is not finite");
  FEDGLM_ASSIGN_OR_RETURN(config.use_rslora, OptionalBool(json, "use_rslora", false));
  FEDGLM_ASSIGN_OR_RETURN(config.base_model, OptionalString(json, "base_model_name_or_path", ""));
  FEDGLM_ASSIGN_OR_RETURN(config.target_modules, TargetModules(json));
  return config;
}

Json PeftConfigToJson(const AdapterConfig& config) {
  return {{"peft_type", "LORA"},
          {"task_type", "CAUSAL_LM"},
          {"base_model_name_or_path", config.base_model},
          {"r", config.rank},
          {"lora_alpha", config.alpha},
          {"use_rslora", config.use_rslora},
          {"lora_dropout", 0.0},
          {"bias", "none"},
          {"fan_in_fan_out", false},
          {"inference_mode", true},
          {"target_modules", config.target_modules}};
}

absl::Status ModulesFromPeft(std::map<std::string, Matrix> tensors, Adapter& adapter) {
  for (auto& [name, matrix] : tensors) {
    std::string module;
    char factor;
    if (!SplitName(name, module, factor)) return BadFileError("tensor '" + name + "' is no factor of a LoRA");
    LoraPair& pair = adapter.modules[module];
    Matrix& side = factor == 'A' ? pair.a : pair.b;
    if (!side.values.empty()) return BadFileError("module '" + module + "' is there twice");
    FEDGLM_RETURN_IF_ERROR(CheckFinite(module, matrix));
    side = std::move(matrix);
  }
  std::set<std::string> targets;
  for (const auto& [module, pair] : adapter.modules) {
    if (pair.a.rows != adapter.config.rank || pair.b.columns != adapter.config.rank || pair.a.columns == 0 ||
        pair.b.rows == 0) {
      return BadFileError("module '" + module + "' does not have two factors of rank " +
                          std::to_string(adapter.config.rank));
    }
    targets.insert(module.substr(module.rfind('.') + 1));
  }
  if (adapter.modules.empty()) return BadFileError("it has no LoRA modules");
  // "all-linear", a pattern, or nothing: the modules themselves say which layers are adapted.
  adapter.config.target_modules.assign(targets.begin(), targets.end());
  return absl::OkStatus();
}

std::map<std::string, const Matrix*> ModulesToPeft(const Adapter& adapter) {
  std::map<std::string, const Matrix*> tensors;
  for (const auto& [module, pair] : adapter.modules) {
    tensors[std::string(kPrefix) + module + ".lora_A.weight"] = &pair.a;
    tensors[std::string(kPrefix) + module + ".lora_B.weight"] = &pair.b;
  }
  return tensors;
}

}  // namespace fedglm
