#include "aggregator/updates/exact_mean.h"

#include <cmath>

#include "aggregator/updates/trained_tensors.h"

namespace fedglm {
namespace {

// A float32 times 2^48 is exact in double; it is rounded only if it has bits below 2^-48.
constexpr double kScale = 0x1p48;
// Below this a scaled value fits 64 bits, and the product of it and a weight is one instruction.
constexpr double kSmall = 0x1p14;

}  // namespace

void ExactSum::Add(std::span<const float> values, int64_t weight) {
  weight_ += weight;
  for (size_t i = 0; i < values.size(); ++i) {
    const double value = values[i];
    if (std::abs(value) < kSmall) {
      sums_[i] += static_cast<Integer>(std::llrint(value * kScale)) * weight;
    } else {
      sums_[i] += static_cast<Integer>(value * kScale) * weight;  // has no bits to round
    }
  }
}

absl::StatusOr<ExactSum> SumOf(const RoundUpdates& updates, const std::string& tensor, size_t values) {
  ExactSum sum(values);
  std::vector<float> one(values);
  for (size_t update = 0; update < updates.size(); ++update) {
    FEDGLM_RETURN_IF_ERROR(updates.Read(update, tensor, one));
    sum.Add(one, updates.weight(update));
  }
  return sum;
}

absl::StatusOr<Adapter> StepByMean(const Adapter& global, UpdateForm form, const RoundUpdates& updates, double step) {
  return ChangeTrained(global, form, [&](const std::string& name, Matrix& matrix) -> absl::Status {
    FEDGLM_ASSIGN_OR_RETURN(const ExactSum sum, SumOf(updates, name, matrix.values.size()));
    for (size_t i = 0; i < sum.size(); ++i) {
      matrix.values[i] = static_cast<float>(matrix.values[i] + step * sum.Mean(i));
    }
    return absl::OkStatus();
  });
}

}  // namespace fedglm
