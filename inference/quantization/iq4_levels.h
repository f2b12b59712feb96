// IQ4's levels for the search: sixteen that lie closer together around zero, where most weights are. Private to this
// folder.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "inference/quantization/blocks.h"

namespace fedglm {

// The halves of integers between -128 and 128, each with the index of the level that is nearest to all of
// [half/2, half/2 + 1/2). That is exact: the middle between two levels is a multiple of 1/2.
inline constexpr int kIq4Halves = 512;

constexpr std::array<uint8_t, kIq4Halves> NearestIq4ByHalves() {
  std::array<uint8_t, kIq4Halves> nearest{};
  int index = 0;
  for (int half = 0; half < kIq4Halves; ++half) {
    // Twice the middle of the interval, and four times the middle of two levels, to stay with integers.
    while (index < 15 && 2 * (half - kIq4Halves / 2) + 1 > 2 * (kIq4Levels[index] + kIq4Levels[index + 1])) ++index;
    nearest[static_cast<size_t>(half)] = static_cast<uint8_t>(index);
  }
  return nearest;
}

struct Iq4Levels {
  static constexpr float lowest = kIq4Levels[0], highest = kIq4Levels[15];

  static int IndexOf(float value) {
    const float halves = std::min(std::max(value * 2.0f, -256.0f), 255.0f);
    return kNearest[static_cast<size_t>(static_cast<int>(halves + 256.0f))];
  }
  float Nearest(float value) const { return kIq4Levels[IndexOf(value)]; }

 private:
  static constexpr std::array<uint8_t, kIq4Halves> kNearest = NearestIq4ByHalves();
};

}  // namespace fedglm
