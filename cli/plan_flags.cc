#include "cli/plan_flags.h"

#include <algorithm>

namespace fedglm::cli {
namespace {

void Limit(CommandOption option, const Allowed<std::string>& allowed) { option.OneOf(allowed.names); }
void Limit(CommandOption option, const Allowed<int64_t>& allowed) { option.Between(allowed.lowest, allowed.highest); }
void Limit(CommandOption option, const Allowed<double>& allowed) {
  option.NumberBetween(allowed.lowest, allowed.highest);
}
void Limit(CommandOption, const Allowed<uint64_t>&) {}  // its type is its range

struct FlagAdder {
  Command app;

  template <typename T>
  void operator()(const PlanField<T>& field, T& value) {
    std::string flag = std::string("--") + field.key;
    std::replace(flag.begin(), flag.end(), '_', '-');
    Limit(app.Add(flag, value, field.meaning).ShowDefault(), field.allowed);
  }
};

}  // namespace

void AddPlanFlags(Command app, TrainingPlan& plan) {
  FlagAdder adder{app};
  TrainingPlan::Visit(plan, adder);
}

}  // namespace fedglm::cli
