#include "inference/gguf/new_adapter.h"

#include <algorithm>
#include <set>

namespace fedglm {

absl::StatusOr<Adapter> MakeNewAdapter(const Hyperparameters& base, const std::string& base_sha256,
                                       AdapterConfig config, uint64_t seed) {
  const std::vector<std::string> wanted = config.target_modules;
  std::vector<ModuleShape> shapes;
  std::set<std::string> targets, known;
  for (const LinearModule& module : LinearModules(base)) {
    known.insert(module.target);
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), module.target) == wanted.end()) continue;
    shapes.push_back({module.peft_name, module.inputs, module.outputs});
    targets.insert(module.target);
  }
  for (const std::string& target : wanted) {
    if (!known.contains(target)) return UsageError("the model has no linear layer '" + target + "'");
  }
  config.target_modules.assign(targets.begin(), targets.end());
  config.base_model = base.name;
  Adapter adapter = MakeSeededAdapter(config, shapes, seed);
  adapter.provenance = Provenance{};
  adapter.provenance->base_sha256 = base_sha256;
  return adapter;
}

}  // namespace fedglm
