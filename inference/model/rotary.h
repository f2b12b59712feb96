// Rotary position embedding (Su et al. 2021, https://arxiv.org/abs/2104.09864).
#pragma once

#include <cstdint>
#include <vector>

#include "inference/gguf/architecture.h"

namespace fedglm {

// cos and sin of one position: [rotary_size / 2] each.
void RotaryAngles(const std::vector<double>& frequencies, int64_t position, float* cosines, float* sines);

// Rotates the first rotary_size components of one head in place.
void Rotate(RotaryLayout layout, int64_t rotary_size, const float* cosines, const float* sines, float* head);

}  // namespace fedglm
