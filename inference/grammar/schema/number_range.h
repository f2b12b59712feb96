// Numbers between two bounds, as a grammar. Private to this folder.
#pragma once

#include <optional>
#include <string>

#include "base/json.h"
#include "base/status.h"

namespace fedglm {

struct NumberBound {
  Json value;  // a number
  bool exclusive = false;
};

// GBNF of the decimal texts, without exponent, of the numbers within the bounds: all integers, or also fractions, of
// which those closest to a bound may be missing. Where there is no bound, numbers end below 10^15, or at ten times the
// other bound. An empty text if no number lies between. UsageError if a bound has too many digits.
absl::StatusOr<std::string> NumberRange(const std::optional<NumberBound>& minimum,
                                        const std::optional<NumberBound>& maximum, bool integers);

}  // namespace fedglm
