// An adapter's bytes without a copy of them in memory: what SerializeAdapter does, for who has a place for them as they
// are made.
#pragma once

#include "adapter/adapter.h"
#include "adapter/safetensors.h"
#include "base/status.h"

namespace fedglm {

// What SerializeAdapter gives, tensor by tensor.
absl::Status WriteAdapter(const Adapter& adapter, const ByteSink& sink);

}  // namespace fedglm
