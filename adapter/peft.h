// PEFT's names and configuration (adapter_config.json, "base_model.model.<module>.lora_A.weight"). Private to this
// folder.
#pragma once

#include <map>
#include <string>

#include "adapter/adapter.h"
#include "base/json_forward.h"
#include "base/status.h"

namespace fedglm {

// Refuses what would change the arithmetic and is not implemented: DoRA, rank or alpha patterns, trained biases, ….
absl::StatusOr<AdapterConfig> PeftConfigFromJson(const Json& json);
Json PeftConfigToJson(const AdapterConfig& config);

// Pairs lora_A with lora_B and checks their shapes against the configured rank. Fills adapter.modules.
absl::Status ModulesFromPeft(std::map<std::string, Matrix> tensors, Adapter& adapter);
// The factors where they are: `adapter` outlives the result.
std::map<std::string, const Matrix*> ModulesToPeft(const Adapter& adapter);

}  // namespace fedglm
