#include "aggregator/rounds/founding.h"

namespace fedglm {
namespace {

absl::StatusOr<std::string> Found(const AggregatorOptions& options, const Strategy& strategy,
                                  const Publisher& publisher, Store& store) {
  FEDGLM_ASSIGN_OR_RETURN(Adapter adapter, LoadAdapter(options.initial_adapter));
  if (!adapter.provenance || adapter.provenance->base_sha256.empty()) {
    return ConfigurationError(options.initial_adapter.string() +
                              ": does not say which base it is for; make it with `fedglm adapter init`");
  }
  const std::string base_sha256 = adapter.provenance->base_sha256;
  FEDGLM_ASSIGN_OR_RETURN(const std::string sha256, publisher.Publish(adapter, base_sha256, /*round=*/0, {}));
  FEDGLM_RETURN_IF_ERROR(store.Transaction([&]() -> absl::Status {
    FEDGLM_RETURN_IF_ERROR(store.SetSetting("federation", options.federation));
    FEDGLM_RETURN_IF_ERROR(store.SetSetting("mode", std::string(UpdateFormName(options.mode))));
    FEDGLM_RETURN_IF_ERROR(store.SetSetting("strategy", std::string(strategy.name())));
    return store.SetSetting("initial_adapter", sha256);
  }));
  return sha256;
}

}  // namespace

absl::StatusOr<std::string> FoundFederation(const AggregatorOptions& options, const Strategy& strategy,
                                            const Publisher& publisher, Store& store) {
  FEDGLM_ASSIGN_OR_RETURN(const std::string initial, store.Setting("initial_adapter"));
  if (initial.empty()) return Found(options, strategy, publisher, store);
  FEDGLM_ASSIGN_OR_RETURN(const std::string federation, store.Setting("federation"));
  FEDGLM_ASSIGN_OR_RETURN(const std::string mode, store.Setting("mode"));
  FEDGLM_ASSIGN_OR_RETURN(std::string begun_with, store.Setting("strategy"));
  if (begun_with.empty()) begun_with = DefaultStrategy(options.mode)->name();  // begun when the mode said it all
  if (mode == UpdateFormName(options.mode) && federation == options.federation && begun_with == strategy.name()) {
    return initial;
  }
  return ConfigurationError("the state folder belongs to federation '" + federation + "' in mode " + mode +
                            " with strategy " + begun_with + "; another one needs another state_dir");
}

absl::StatusOr<std::string> AdapterOfRound(Store& store, int64_t round) {
  if (round == 0) return store.Setting("initial_adapter");
  const absl::Status none = RefusedError("there is no round " + std::to_string(round) + " that is done");
  if (round < 0) return none;
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<RoundRow> rows, store.RoundsAfter(round - 1, 1));
  const bool there = !rows.empty() && rows.front().round == round && rows.front().state == RoundState::kDone;
  if (!there) return none;
  return rows.front().adapter_out;
}

}  // namespace fedglm
