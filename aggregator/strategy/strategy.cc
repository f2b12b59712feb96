#include "aggregator/strategy/strategy.h"

#include <string>

#include "aggregator/strategy/coordinate_wise.h"
#include "aggregator/strategy/fedadagrad.h"
#include "aggregator/strategy/fedadam.h"
#include "aggregator/strategy/fedavg.h"
#include "aggregator/strategy/fedavgm.h"
#include "aggregator/strategy/fedsgd.h"
#include "aggregator/strategy/fedyogi.h"
#include "aggregator/strategy/geometric_median.h"
#include "aggregator/strategy/multi_krum.h"
#include "aggregator/strategy/stacking.h"

namespace fedglm {
namespace {

template <typename T>
std::unique_ptr<Strategy> Make() {
  return std::make_unique<T>();
}

// One line for each. The first that combines a form is the default of that form.
constexpr std::unique_ptr<Strategy> (*kStrategies[])() = {
    Make<FedAvg>,  Make<Stacking>, Make<FedSgd>,      Make<FedAdam>,         Make<FedYogi>,   Make<FedAdagrad>,
    Make<FedAvgM>, Make<Median>,   Make<TrimmedMean>, Make<GeometricMedian>, Make<MultiKrum>,
};

}  // namespace

bool IsChange(UpdateForm form) { return form == UpdateForm::kChangeOfB || form == UpdateForm::kChangeOfFactors; }

absl::StatusOr<std::unique_ptr<Strategy>> MakeStrategy(std::string_view name) {
  std::string known;
  for (const auto make : kStrategies) {
    std::unique_ptr<Strategy> strategy = make();
    if (strategy->name() == name) return strategy;
    known += (known.empty() ? "" : ", ") + std::string(strategy->name());
  }
  return UsageError("'" + std::string(name) + "' is not a strategy: " + known);
}

std::unique_ptr<Strategy> DefaultStrategy(UpdateForm form) {
  for (const auto make : kStrategies) {
    std::unique_ptr<Strategy> strategy = make();
    if (strategy->Combines(form)) return strategy;
  }
  return nullptr;  // no form is without one
}

}  // namespace fedglm
