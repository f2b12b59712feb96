// --explain-memory: what a command would do with the memory it may use, before it loads a model.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "cli/model_options.h"

namespace fedglm::cli {

// Measures how fast memory and disk are read (about a second), plans, and prints the plan as a table or as JSON.
// `named_adapters`: paths of those that are served beside options.adapter. ResourceExhausted if the model cannot run in
// the budget; errors of a model or adapter that cannot be opened.
absl::Status ExplainMemory(const ModelOptions& options, bool json, std::vector<std::string> named_adapters = {});

}  // namespace fedglm::cli
