// A token of a model: the row of its vocabulary, of its embedding and of its logits.
#pragma once

#include <cstdint>

namespace fedglm {

using Token = int32_t;

}  // namespace fedglm
