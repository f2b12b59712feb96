#include "adapter/training_plan.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "base/file.h"
#include "base/json.h"
#include "tests/adapter/unusual_plan.h"
#include "tests/support/source_tree.h"

namespace fedglm {
namespace {

using testing::HasSubstr;

std::string With(const std::string& key, const Json& value) {
  Json json = ToJson(TrainingPlan());
  json[key] = value;
  return DumpJson(json);
}

void ExpectRefused(const std::string& key, const Json& value, const std::string& why) {
  const absl::Status status = ParseTrainingPlan(With(key, value)).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage) << key << " " << value;
  EXPECT_THAT(Message(status), HasSubstr("\"" + key + "\" has a bad value: it must be " + why));
}

// Every field takes what is allowed, up to both ends, and nothing beside them.
struct EndsAreChecked {
  template <typename T>
  static void ExpectTaken(const char* key, const T& value) {
    const absl::StatusOr<TrainingPlan> plan = ParseTrainingPlan(With(key, value));
    ASSERT_TRUE(plan.ok()) << Message(plan.status());
    EXPECT_EQ(ToJson(*plan).at(key), Json(value)) << key;
  }
  void operator()(const PlanField<std::string>& field, std::string& value) const {
    EXPECT_TRUE(field.allowed.Holds(value)) << field.key << ": the default is not allowed";
    for (const std::string& name : field.allowed.names) ExpectTaken(field.key, name);
    ExpectRefused(field.key, "lion", Describe(field.allowed));
    ExpectRefused(field.key, "", Describe(field.allowed));
    ExpectRefused(field.key, 1, Describe(field.allowed));
  }
  template <typename T>
  void operator()(const PlanField<T>& field, T& value) const {
    EXPECT_TRUE(field.allowed.Holds(value)) << field.key << ": the default is not allowed";
    ExpectTaken(field.key, field.allowed.lowest);
    ExpectTaken(field.key, field.allowed.highest);
    ExpectRefused(field.key, "1", Describe(field.allowed));
    ExpectRefused(field.key, nullptr, Describe(field.allowed));
    ExpectRefused(field.key, -1e-3, Describe(field.allowed));
    if constexpr (std::is_same_v<T, int64_t>) {
      ExpectRefused(field.key, field.allowed.lowest - 1, Describe(field.allowed));
      ExpectRefused(field.key, field.allowed.highest + 1, Describe(field.allowed));
    }
    if constexpr (std::is_same_v<T, double>) {
      const double infinity = std::numeric_limits<double>::infinity();
      EXPECT_FALSE(field.allowed.Holds(std::nan("")));
      ExpectRefused(field.key, std::nextafter(field.allowed.lowest, -infinity), Describe(field.allowed));
      ExpectRefused(field.key, std::nextafter(field.allowed.highest, infinity), Describe(field.allowed));
    }
  }
};

TEST(TrainingPlan, EveryFieldIsCheckedAtBothEnds) {
  TrainingPlan plan;
  EndsAreChecked ends;
  TrainingPlan::Visit(plan, ends);
}

TEST(TrainingPlan, EveryFieldComesBackFromJson) {
  const Json unusual = ToJson(UnusualPlan::Make()), defaults = ToJson(TrainingPlan());
  for (const auto& [key, value] : unusual.items()) {
    EXPECT_NE(value, defaults.at(key)) << key << " has its default: this test would not see it";
  }
  const absl::StatusOr<TrainingPlan> read = ParseTrainingPlan(DumpJson(unusual));
  ASSERT_TRUE(read.ok()) << Message(read.status());
  EXPECT_EQ(DumpJson(ToJson(*read)), DumpJson(unusual)) << "doubles too come back exactly";
}

TEST(TrainingPlan, WhatIsLeftOutHasItsDefault) {
  const absl::StatusOr<TrainingPlan> plan = ParseTrainingPlan("{\"steps\":7}");
  ASSERT_TRUE(plan.ok()) << Message(plan.status());
  EXPECT_EQ(plan->steps, 7);
  EXPECT_EQ(plan->learning_rate, TrainingPlan().learning_rate);
}

TEST(TrainingPlan, WhatIsNotKnownIsRefusedByName) {
  for (const char* key : {"learning-rate", "Steps", "adapter", ""}) {
    const absl::Status status = ParseTrainingPlan(With(key, 1)).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kUsage);
    EXPECT_THAT(Message(status), HasSubstr("training plan: unknown key \"" + std::string(key) + "\""));
  }
  for (const char* text : {"", "[]", "7", "{", R"({"steps":1,"steps":2})"}) {
    EXPECT_EQ(ExitCodeOf(ParseTrainingPlan(text).status()), ExitCode::kUsage) << text;
  }
}

TEST(Describe, SaysWhatIsAllowed) {
  EXPECT_EQ(Describe(Allowed<int64_t>{1, 9}), "an integer from 1 to 9");
  EXPECT_EQ(Describe(Allowed<double>{0, 0.5}), "a number from 0 to 0.5");
  EXPECT_EQ(Describe(Allowed<std::string>{{"adamw", "sgd"}}), "adamw or sgd");
  EXPECT_EQ(Describe(Allowed<std::string>{{"a", "b", "c"}}), "a, b or c");
}

// The rows that docs/training-plan.md must have.
struct TableOfThePage {
  std::string rows;
  template <typename T>
  void operator()(const PlanField<T>& field, const T& value) {
    rows += "| `" + std::string(field.key) + "` | " + DumpJson(Json(value)) + " | " + Describe(field.allowed) + " | " +
            field.meaning + " |\n";
  }
};

TEST(TrainingPlan, ThePageSaysWhatThePlanIs) {
  const std::filesystem::path page = SourceFolder() / "docs/training-plan.md";
  const absl::StatusOr<std::string> text = ReadFile(page);
  ASSERT_TRUE(text.ok()) << Message(text.status());
  TableOfThePage table;
  const TrainingPlan defaults;
  TrainingPlan::Visit(defaults, table);
  EXPECT_THAT(*text, HasSubstr("|---|---|---|---|\n" + table.rows + "\n")) << page << " must have this table:\n"
                                                                           << table.rows;
}

}  // namespace
}  // namespace fedglm
