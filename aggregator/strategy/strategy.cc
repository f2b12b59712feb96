#include "aggregator/strategy/strategy.h"

#include <cmath>
#include <map>
#include <vector>

#include "aggregator/strategy/stacking.h"
#include "aggregator/strategy/truncation.h"

namespace fedglm {
namespace {

// Adds the mean of the updates, weighted by examples, to the global adapter's trainable tensors. Sums in double.
class MeanStrategy : public Strategy {
 public:
  MeanStrategy(const Adapter& global, AggregationMode mode, double step) : global_(global), mode_(mode), step_(step) {
    for (const auto& [name, tensor] : TensorsOf(global, mode)) sums_[name].resize(tensor.values.size());
  }

  absl::Status Fold(const TensorMap& update, int64_t examples) override {
    if (examples < 1) return RefusedError("an update must come from at least one example");
    FEDGLM_RETURN_IF_ERROR(CheckUpdate(update, global_, mode_));
    for (const auto& [name, tensor] : update) {
      std::vector<double>& sum = sums_[name];
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += static_cast<double>(examples) * tensor.values[i];
    }
    examples_ += examples;
    return absl::OkStatus();
  }

  absl::StatusOr<AggregationResult> Finish() override {
    if (examples_ == 0) return FailedError("no update to average");
    AggregationResult result;
    result.adapter.config = global_.config;
    result.adapter.modules = global_.modules;
    for (auto& [name, pair] : result.adapter.modules) {
      AddMean(name + ".lora_A", pair.a);
      AddMean(name + ".lora_B", pair.b);
    }
    return result;
  }

 private:
  void AddMean(const std::string& name, Matrix& matrix) const {
    const auto found = sums_.find(name);
    if (found == sums_.end()) return;  // a factor that is frozen
    const double scale = step_ / static_cast<double>(examples_);
    for (size_t i = 0; i < matrix.values.size(); ++i) {
      matrix.values[i] = static_cast<float>(matrix.values[i] + scale * found->second[i]);
    }
  }

  const Adapter global_;
  const AggregationMode mode_;
  const double step_;
  std::map<std::string, std::vector<double>> sums_;
  int64_t examples_ = 0;
};

class StackStrategy : public Strategy {
 public:
  explicit StackStrategy(const Adapter& global) : global_(global) {}

  absl::Status Fold(const TensorMap& update, int64_t examples) override {
    if (examples < 1) return RefusedError("an update must come from at least one example");
    FEDGLM_RETURN_IF_ERROR(CheckUpdate(update, global_, AggregationMode::kStack));
    for (const auto& [name, pair] : global_.modules) {
      stacks_[name].Add({update.at(name + ".lora_A"), update.at(name + ".lora_B")}, static_cast<double>(examples));
    }
    ++updates_;
    return absl::OkStatus();
  }

  absl::StatusOr<AggregationResult> Finish() override {
    if (updates_ == 0) return FailedError("no update to average");
    AggregationResult result;
    result.adapter.config = global_.config;
    double norm = 0, error = 0;
    for (const auto& [name, stack] : stacks_) {
      TruncatedPair truncated = TruncateToRank(stack.Mean(), global_.config.rank);
      norm += truncated.squared_norm;
      error += truncated.squared_error;
      result.adapter.modules[name] = std::move(truncated.pair);
    }
    result.truncation_error = norm > 0 ? std::sqrt(error / norm) : 0;
    return result;
  }

 private:
  const Adapter global_;
  std::map<std::string, FactorStack> stacks_;
  int64_t updates_ = 0;
};

}  // namespace

std::unique_ptr<Strategy> Strategy::Make(const Adapter& global, const StrategyOptions& options) {
  switch (options.mode) {
    case AggregationMode::kStack:
      return std::make_unique<StackStrategy>(global);
    case AggregationMode::kFedSgd:  // the update is a gradient: the step goes down it
      return std::make_unique<MeanStrategy>(global, options.mode, -options.server_learning_rate);
    default:
      return std::make_unique<MeanStrategy>(global, options.mode, 1.0);
  }
}

}  // namespace fedglm
