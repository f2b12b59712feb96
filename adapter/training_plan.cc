#include "adapter/training_plan.h"

#include "adapter/json_fields.h"
#include "base/json.h"

namespace fedglm {
namespace {

std::string Between(const char* kind, const Json& lowest, const Json& highest) {
  return std::string(kind) + " from " + DumpJson(lowest) + " to " + DumpJson(highest);
}

}  // namespace

std::string Describe(const Allowed<int64_t>& allowed) { return Between("an integer", allowed.lowest, allowed.highest); }

std::string Describe(const Allowed<uint64_t>& allowed) {
  return Between("an integer", allowed.lowest, allowed.highest);
}

std::string Describe(const Allowed<double>& allowed) {
  char text[96];
  std::snprintf(text, sizeof(text), "a number from %g to %g", allowed.lowest, allowed.highest);
  return text;
}

std::string Describe(const Allowed<std::string>& allowed) {
  std::string text;
  for (const std::string& name : allowed.names) {
    if (!text.empty()) text += &name == &allowed.names.back() ? " or " : ", ";
    text += name;
  }
  return text;
}

Json ToJson(const TrainingPlan& plan) {
  JsonFieldWriter writer;
  TrainingPlan::Visit(plan, writer);
  return writer.json;
}

absl::StatusOr<TrainingPlan> ParseTrainingPlan(std::string_view json) {
  FEDGLM_ASSIGN_OR_RETURN(JsonFieldReader reader, JsonFieldReader::Parse(json, "training plan"));
  TrainingPlan plan;
  TrainingPlan::Visit(plan, reader);
  FEDGLM_RETURN_IF_ERROR(reader.Finish());
  return plan;
}

}  // namespace fedglm
