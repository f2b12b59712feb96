// The mean of products BA, exactly: factors are stacked side by side, then brought back to the rank by SVD with the error
// known. (The idea of FLoRA, Wang et al. 2024, https://arxiv.org/abs/2409.05976; the truncation by QR and a small SVD.)
#pragma once

#include <cstdint>
#include <vector>

#include "adapter/adapter.h"

namespace fedglm {

// mean = b a exactly: b is [outputs][sum of ranks], a is [sum of ranks][inputs].
struct StackedFactors {
  Matrix a, b;
};

// sum_k (weight_k / sum of weights) B_k A_k as one pair of stacked factors.
class FactorStack {
 public:
  void Add(const LoraPair& pair, double weight);
  StackedFactors Mean() const;

 private:
  std::vector<LoraPair> pairs_;
  std::vector<double> weights_;
};

struct TruncatedPair {
  LoraPair pair;             // of the wanted rank, singular values split evenly between both factors
  double squared_norm = 0;   // ‖b a‖², Frobenius
  double squared_error = 0;  // ‖b a − pair.b pair.a‖²
};

// The best approximation of b a with `rank` (Eckart–Young), without ever forming the product.
TruncatedPair TruncateToRank(const StackedFactors& factors, int64_t rank);

}  // namespace fedglm
