// A new adapter for a base: A from a seed, B zero, so that it changes nothing yet.
#pragma once

#include <cstdint>

#include "adapter/adapter.h"
#include "base/status.h"
#include "inference/gguf/architecture.h"

namespace fedglm {

// For the base's linear layers that config.target_modules names ("q_proj", …); for all of them if it names none. The
// provenance says `base_sha256` ("": unknown). UsageError for a name that is no linear layer of the base.
absl::StatusOr<Adapter> MakeNewAdapter(const Hyperparameters& base, const std::string& base_sha256,
                                       AdapterConfig config, uint64_t seed);

}  // namespace fedglm
