#include "inference/model/rotary.h"

#include <cmath>

namespace fedglm {

void RotaryAngles(const std::vector<double>& frequencies, int64_t position, float* cosines, float* sines) {
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double angle = static_cast<double>(position) * frequencies[i];
    cosines[i] = static_cast<float>(std::cos(angle));
    sines[i] = static_cast<float>(std::sin(angle));
  }
}

void Rotate(RotaryLayout layout, int64_t rotary_size, const float* cosines, const float* sines, float* head) {
  const int64_t half = rotary_size / 2;
  const int64_t first_step = layout == RotaryLayout::kInterleaved ? 2 : 1;
  const int64_t partner = layout == RotaryLayout::kInterleaved ? 1 : half;
  for (int64_t i = 0; i < half; ++i) {
    float& a = head[i * first_step];
    float& b = head[i * first_step + partner];
    const float x = a, y = b;
    a = x * cosines[i] - y * sines[i];
    b = x * sines[i] + y * cosines[i];
  }
}

}  // namespace fedglm
