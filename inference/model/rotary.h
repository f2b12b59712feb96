// Rotary position embedding (Su et al. 2021, https://arxiv.org/abs/2104.09864). The trainer computes the same tables.
#pragma once

#include <cstdint>
#include <vector>

#include "inference/gguf/architecture.h"
#include "inference/gguf/gguf_file.h"

namespace fedglm {

// The angle per position of each pair: scale / (base^(2i / rotary_size) * rope_freqs[i]), [rotary_size / 2].
std::vector<double> RotaryFrequencies(const Hyperparameters& hyperparameters, const GgufFile& file);

// cos and sin of one position: [rotary_size / 2] each.
void RotaryAngles(const std::vector<double>& frequencies, int64_t position, float* cosines, float* sines);

// Rotates the first rotary_size components of one head in place.
void Rotate(RotaryLayout layout, int64_t rotary_size, const float* cosines, const float* sines, float* head);

}  // namespace fedglm
