// JSON without exceptions: nlohmann's parser, its errors translated here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/json_forward.h"
#include "base/status.h"

// Compiled once, in json.cc: otherwise every file that touches a Json compiles it again, three seconds each.
extern template class nlohmann::basic_json<nlohmann::ordered_map>;

namespace fedglm {

// BadFile if `text` is not JSON, nests deeper than 128, has a name twice, or takes more than about `max_bytes` of
// memory, which can be twenty times its length: "[[],[],…]". `what` is the source's name. Linear time.
absl::StatusOr<Json> ParseJson(std::string_view text, std::string_view what, size_t max_bytes = SIZE_MAX);

// Replaces invalid UTF-8 rather than throwing.
std::string DumpJson(const Json& value, int indent = -1);

// Typed members of an object. BadFile naming the key if it is missing (Require...) or of another type (both).
absl::StatusOr<std::string> RequireString(const Json& object, std::string_view key);
absl::StatusOr<int64_t> RequireInteger(const Json& object, std::string_view key);
absl::StatusOr<double> RequireNumber(const Json& object, std::string_view key);
absl::StatusOr<std::string> OptionalString(const Json& object, std::string_view key, std::string fallback);
absl::StatusOr<int64_t> OptionalInteger(const Json& object, std::string_view key, int64_t fallback);
absl::StatusOr<double> OptionalNumber(const Json& object, std::string_view key, double fallback);
absl::StatusOr<bool> OptionalBool(const Json& object, std::string_view key, bool fallback);

}  // namespace fedglm
