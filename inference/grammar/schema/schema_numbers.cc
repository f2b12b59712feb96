#include <optional>

#include "base/json.h"
#include "inference/grammar/schema/number_range.h"
#include "inference/grammar/schema/schema_values.h"

namespace fedglm {

GrammarText NumberGrammar(const Json& schema, bool integers, const std::string& path) {
  if (const Json* const divisor = FindKeyword(schema, "multipleOf"); divisor != nullptr) {
    if (*divisor != 1) return Unsupported(path, "'multipleOf' is not supported, but for 1");
    integers = true;
  }
  std::optional<NumberBound> minimum, maximum;
  if (const Json* const bound = FindKeyword(schema, "minimum"); bound != nullptr) minimum = {*bound, false};
  if (const Json* const bound = FindKeyword(schema, "maximum"); bound != nullptr) maximum = {*bound, false};
  if (const Json* const bound = FindKeyword(schema, "exclusiveMinimum"); bound != nullptr) {
    if (!minimum || *bound >= minimum->value) minimum = {*bound, true};
  }
  if (const Json* const bound = FindKeyword(schema, "exclusiveMaximum"); bound != nullptr) {
    if (!maximum || *bound <= maximum->value) maximum = {*bound, true};
  }
  if (!minimum && !maximum) return integers ? "integer" : "number";
  absl::StatusOr<std::string> range = NumberRange(minimum, maximum, integers);
  if (!range.ok()) return Annotate(range.status(), path);
  if (range->empty()) return NoValue(path, "there is no such number between the bounds");
  return "(" + *range + ")";
}

}  // namespace fedglm
