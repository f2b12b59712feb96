#include "tests/soak/adapter_swapper.h"

#include <array>
#include <random>

#include "adapter/adapter.h"
#include "inference/gguf/new_adapter.h"

namespace fedglm::soak {
namespace {

// The server's own, and AdapterSwapper::Names().
constexpr std::array kPlaces = {"default", "ward-north", "ward-south"};
// Small ones, as PEFT makes them if it is told nothing.
constexpr int64_t kRank = 8;
constexpr std::array kTargets = {"q_proj", "v_proj"};
constexpr float kLargest = 0.02f;  // of B: answers change, but stay text

absl::Status WriteAdapter(const Hyperparameters& base, uint64_t seed, const std::filesystem::path& folder) {
  AdapterConfig config;
  config.rank = kRank;
  config.target_modules.assign(kTargets.begin(), kTargets.end());
  FEDGLM_ASSIGN_OR_RETURN(Adapter adapter, MakeNewAdapter(base, "", config, seed));
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<float> uniform(-kLargest, kLargest);
  for (auto& [name, pair] : adapter.modules) {
    for (float& value : pair.b.values) value = uniform(random);
  }
  return SaveAdapter(adapter, folder);
}

std::string VersionName(size_t place, int version) {
  return std::string(kPlaces[place]) + "-" + std::to_string(version);
}

}  // namespace

absl::StatusOr<AdapterSwapper> AdapterSwapper::Make(const std::filesystem::path& model,
                                                    const std::filesystem::path& folder, uint64_t seed) {
  FEDGLM_ASSIGN_OR_RETURN(const std::shared_ptr<const GgufFile> file, GgufFile::Open(model));
  FEDGLM_ASSIGN_OR_RETURN(const Hyperparameters base, ReadHyperparameters(*file));
  AdapterSwapper swapper(folder);
  for (size_t place = 0; place < kPlaces.size(); ++place) {
    for (const int version : {0, 1}) {
      FEDGLM_RETURN_IF_ERROR(WriteAdapter(base, ++seed, folder / VersionName(place, version)));
    }
    FEDGLM_RETURN_IF_ERROR(swapper.PointAt(place, 0));
  }
  return swapper;
}

std::vector<std::string> AdapterSwapper::Arguments() const {
  std::vector<std::string> arguments = {"--adapter", (folder_ / kPlaces[0]).string()};
  for (size_t place = 1; place < kPlaces.size(); ++place) {
    arguments.push_back("--serve-adapter");
    arguments.push_back(kPlaces[place] + ("=" + (folder_ / kPlaces[place]).string()));
  }
  return arguments;
}

// The link is renamed over the old one: the server finds the one adapter or the other, never none.
absl::Status AdapterSwapper::PointAt(size_t place, int version) const {
  const std::filesystem::path link = folder_ / kPlaces[place], fresh = folder_ / "link";
  std::error_code error;
  std::filesystem::create_directory_symlink(VersionName(place, version), fresh, error);
  if (!error) std::filesystem::rename(fresh, link, error);
  return error ? ErrnoError(link.string(), error.value()) : absl::OkStatus();
}

absl::Status AdapterSwapper::Swap() {
  const auto places = static_cast<int64_t>(kPlaces.size());
  ++swaps_;
  return PointAt(static_cast<size_t>(swaps_ % places), static_cast<int>(swaps_ / places % 2));
}

}  // namespace fedglm::soak
