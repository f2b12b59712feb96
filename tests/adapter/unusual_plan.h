// A training plan in which no hyperparameter has its default, and no two numbers are the same.
#pragma once

#include <limits>

#include "adapter/training_plan.h"

namespace fedglm {

class UnusualPlan {
 public:
  static TrainingPlan Make() {
    TrainingPlan plan;
    UnusualPlan change;
    TrainingPlan::Visit(plan, change);
    return plan;
  }

  void operator()(const PlanField<std::string>& field, std::string& value) {
    value = field.allowed.names.front() == value ? field.allowed.names.back() : field.allowed.names.front();
  }
  void operator()(const PlanField<int64_t>& field, int64_t& value) { value = field.allowed.lowest + ++number_; }
  void operator()(const PlanField<uint64_t>&, uint64_t& value) { value = INT64_MAX - static_cast<uint64_t>(++number_); }
  void operator()(const PlanField<double>& field, double& value) {
    value = field.allowed.lowest + (field.allowed.highest - field.allowed.lowest) / (++number_ + 1.0 / 3);
  }

 private:
  int64_t number_ = 2;
};

}  // namespace fedglm
