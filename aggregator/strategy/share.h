// How many sites a share of them is.
#pragma once

#include <cmath>
#include <cstddef>

namespace fedglm {

// ⌈share · count⌉. What is above a whole number by rounding alone is that number: 0.1 of 30 is 3.0000000000000004.
inline size_t CountOfShare(double share, size_t count) {
  return static_cast<size_t>(std::ceil(share * static_cast<double>(count) - 1e-9));
}

}  // namespace fedglm
