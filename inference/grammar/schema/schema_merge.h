// JSON Schemas that must hold together, as one. Private to this folder.
#pragma once

#include <string_view>

#include "base/json_forward.h"
#include "base/status.h"

namespace fedglm {

// Says something of the schema's author to its reader; no value is valid or invalid for it.
bool IsAnnotation(std::string_view keyword);

// UsageError if a keyword's value is not what it must be, or has too many members.
absl::Status CheckKeywords(const Json& schema);

// The schema whose values are valid under both, neither of which has a $ref. What members have in common stays as an
// allOf. UsageError for what one schema cannot say; a schema that no value satisfies is `false`, or found out later.
absl::StatusOr<Json> MergeSchemas(const Json& a, const Json& b);

}  // namespace fedglm
