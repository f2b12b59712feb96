// The frozen A of freeze-a mode: drawn from a seed that all sites share.
#include <cmath>
#include <set>

#include "adapter/adapter.h"

namespace fedglm {
namespace {

// The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
uint64_t Mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// FNV-1a: the module's name enters the stream, so that adding a module changes no other one's numbers.
uint64_t HashOf(const std::string& name) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  return hash;
}

}  // namespace

Adapter MakeSeededAdapter(const AdapterConfig& config, const std::vector<ModuleShape>& modules, uint64_t seed) {
  Adapter adapter;
  adapter.config = config;
  std::set<std::string> targets;
  for (const ModuleShape& module : modules) {
    LoraPair pair = {Matrix::Zero(config.rank, module.inputs), Matrix::Zero(module.outputs, config.rank)};
    const uint64_t stream = Mix(seed * 0x9E3779B97F4A7C15u + HashOf(module.name));
    // Variance 1 / inputs: with A frozen, B sees inputs of the scale that the layer's own inputs have.
    const float bound = std::sqrt(3.0f / static_cast<float>(module.inputs));
    for (size_t i = 0; i < pair.a.values.size(); ++i) {
      // 24 bits, so that the conversion to float is exact; in [-1, 1).
      const uint64_t bits = Mix(stream + (i + 1) * 0x9E3779B97F4A7C15u) >> 40;
      pair.a.values[i] = bound * (static_cast<float>(bits) * 0x1p-23f - 1.0f);
    }
    targets.insert(module.name.substr(module.name.rfind('.') + 1));
    adapter.modules[module.name] = std::move(pair);
  }
  adapter.config.target_modules.assign(targets.begin(), targets.end());
  return adapter;
}

}  // namespace fedglm
