// The name of a JSON value, for headers that only pass one on. base/json.h takes a second to read, and is for sources.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace fedglm {

using Json = nlohmann::ordered_json;

}  // namespace fedglm
