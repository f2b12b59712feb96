// The hyperparameters of a training, each named once. The aggregator's [training], the task on the wire, the trainer's
// job, the flags of `fedglm train` and the table of docs/training-plan.md all walk TrainingPlan::Visit.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_forward.h"
#include "base/status.h"

namespace fedglm {

// Where all who train and all who evaluate cut records, if nobody says otherwise: losses over records that are cut at
// different places cannot be compared.
inline constexpr int64_t kDefaultSequenceLength = 1024;

// The values that a field may have: numbers from `lowest` to `highest`, or one of the names.
template <typename T>
struct Allowed {
  T lowest, highest;
  bool Holds(T value) const { return value >= lowest && value <= highest; }  // NaN is not held
};
template <>
struct Allowed<std::string> {
  std::vector<std::string> names;
  bool Holds(const std::string& value) const { return std::find(names.begin(), names.end(), value) != names.end(); }
};
// "an integer from 1 to 9", "a number from 0 to 0.5", "adamw or sgd".
std::string Describe(const Allowed<int64_t>& allowed);
std::string Describe(const Allowed<uint64_t>& allowed);
std::string Describe(const Allowed<double>& allowed);
std::string Describe(const Allowed<std::string>& allowed);

// The key in TOML and JSON (a flag has '-' for '_'), and what pages and --help say of it.
template <typename T>
struct PlanField {
  const char* key;
  Allowed<T> allowed;
  const char* meaning;
};

struct TrainingPlan {
  std::string optimizer = "adamw";
  int64_t steps = 100;
  int64_t batch_tokens = 2048;
  int64_t sequence_length = kDefaultSequenceLength;
  double learning_rate = 1e-3;
  double weight_decay = 0;
  double momentum = 0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  int64_t warmup_steps = 0;
  std::string schedule = "constant";
  double clip_norm = 1.0;
  uint64_t seed = 1;
  std::string arithmetic = "served";

  // visit(PlanField<T>, member) for each hyperparameter. A new one is a member above, a line here, and what the
  // optimizer does with it.
  template <typename Plan, typename Visitor>
  static void Visit(Plan& plan, Visitor& visit) {
    using Name = PlanField<std::string>;
    using Count = PlanField<int64_t>;
    using Number = PlanField<double>;
    visit(Name{"optimizer", {{"adamw", "sgd"}}, "AdamW, or stochastic gradient descent"}, plan.optimizer);
    visit(Count{"steps", {1, 1000000}, "optimizer steps; in a federation, of a site in a round"}, plan.steps);
    visit(Count{"batch_tokens", {1, 1 << 24}, "a step takes examples until they hold so many tokens, at least one"},
          plan.batch_tokens);
    visit(Count{"sequence_length", {8, 1 << 20}, "longer records are cut"}, plan.sequence_length);
    visit(Number{"learning_rate", {0, 1000}, "of a step, before schedule and warm-up"}, plan.learning_rate);
    visit(Number{"weight_decay", {0, 1000}, "of a step; AdamW's is apart from the gradient"}, plan.weight_decay);
    visit(Number{"momentum", {0, 0.999999}, "SGD: how much of the last step's direction is kept"}, plan.momentum);
    visit(Number{"beta1", {0, 0.999999}, "AdamW: how much of the mean gradient is kept"}, plan.beta1);
    visit(Number{"beta2", {0, 0.999999}, "AdamW: how much of the mean squared gradient is kept"}, plan.beta2);
    visit(Number{"epsilon", {1e-30, 1}, "AdamW: added to the root of the mean square"}, plan.epsilon);
    visit(Count{"warmup_steps", {0, 1000000}, "the rate rises linearly, from learning_rate / warmup_steps"},
          plan.warmup_steps);
    visit(
        Name{"schedule", {{"constant", "cosine"}}, "of the learning rate; cosine: to 0 at the last step of all rounds"},
        plan.schedule);
    visit(Number{"clip_norm", {0, 1e9}, "bound on the norm of a step's gradient; 0: none"}, plan.clip_norm);
    visit(PlanField<uint64_t>{"seed", {0, UINT64_MAX}, "order of the records"}, plan.seed);
    visit(Name{"arithmetic", {{"served", "exact"}}, "of the base's products: as the engine has them, or float32"},
          plan.arithmetic);
  }
};

// As one JSON object, which is how a plan crosses the wire.
Json ToJson(const TrainingPlan& plan);
// Keys that are left out have their defaults. UsageError that names an unknown key, or a value that is not allowed.
absl::StatusOr<TrainingPlan> ParseTrainingPlan(std::string_view json);

}  // namespace fedglm
