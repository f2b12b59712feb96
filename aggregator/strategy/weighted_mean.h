// The mean of a round's updates, weighted by their examples.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "aggregator/strategy/strategy.h"

namespace fedglm {

// Holds the global adapter and, for each trained value, its sum in double. Not thread-safe.
class WeightedMean {
 public:
  WeightedMean(const Adapter& global, UpdateForm form);

  absl::Status Fold(const TensorMap& update, int64_t examples);  // as Aggregation's
  int64_t examples() const { return examples_; }                 // of all updates; 0: nothing was folded

  // The global adapter after `change(name, sums, matrix)` on every trained tensor. The mean is sums / examples().
  template <typename Change>
  Adapter MapTrained(const Change& change) const {
    Adapter adapter;
    adapter.config = global_.config;
    adapter.modules = global_.modules;
    for (auto& [module, pair] : adapter.modules) {
      for (const auto& [name, matrix] :
           {std::pair(module + ".lora_A", &pair.a), std::pair(module + ".lora_B", &pair.b)}) {
        if (const auto found = sums_.find(name); found != sums_.end()) change(name, found->second, *matrix);
      }
    }
    return adapter;
  }

 private:
  const Adapter global_;
  const UpdateForm form_;
  std::map<std::string, std::vector<double>> sums_;
  int64_t examples_ = 0;
};

// global + step * mean: a round of FedAvg and of FedSGD.
class MeanStep : public Aggregation {
 public:
  MeanStep(const Adapter& global, UpdateForm form, double step) : mean_(global, form), step_(step) {}
  absl::Status Fold(const TensorMap& update, int64_t examples) override { return mean_.Fold(update, examples); }
  absl::StatusOr<AggregationResult> Finish() override;

 private:
  WeightedMean mean_;
  const double step_;
};

}  // namespace fedglm
