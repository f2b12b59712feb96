// Stacked factors brought back to the adapter's rank, with the error known: by QR and a small SVD.
#pragma once

#include <cstdint>

#include "aggregator/strategy/stacking.h"

namespace fedglm {

struct TruncatedPair {
  LoraPair pair;             // of the wanted rank, singular values split evenly between both factors
  double squared_norm = 0;   // ‖b a‖², Frobenius
  double squared_error = 0;  // ‖b a − pair.b pair.a‖²
};

// The best approximation of b a with `rank` (Eckart–Young), without ever forming the product.
TruncatedPair TruncateToRank(const StackedFactors& factors, int64_t rank);

}  // namespace fedglm
