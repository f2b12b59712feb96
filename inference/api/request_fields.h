// Typed members of a request's JSON object, each with its limits. A member that is missing or null is its default; one
// of another type or out of range is a ParameterError that names it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_forward.h"
#include "base/status.h"

namespace fedglm {

// nullptr if the member is missing or null.
const Json* FindField(const Json& object, const char* field);

absl::StatusOr<double> ReadNumber(const Json& object, const char* field, double fallback, double low, double high);
absl::StatusOr<int64_t> ReadCount(const Json& object, const char* field, int64_t fallback, int64_t low, int64_t high);
absl::StatusOr<bool> ReadFlag(const Json& object, const char* field, bool fallback = false);
// At most `max_bytes` long.
absl::StatusOr<std::string> ReadText(const Json& object, const char* field, size_t max_bytes);
// A string, or a list of at most `max_count` strings, each of 1 to `max_bytes` bytes.
absl::StatusOr<std::vector<std::string>> ReadTexts(const Json& object, const char* field, size_t max_count,
                                                   size_t max_bytes);

}  // namespace fedglm
