// Named float32 tensors: an adapter's factors, a site's update, a gradient. The payload of an upload is these as
// safetensors bytes (docs/adapter-format.md).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "adapter/adapter.h"
#include "base/status.h"

namespace fedglm {

// By name: "<module>.lora_A", "<module>.lora_B".
using TensorMap = std::map<std::string, Matrix>;

// How an update's tensors are to be read and combined. In every mode an update is a TensorMap.
enum class AggregationMode {
  kFreezeA,  // A frozen (from the shared seed); the update is ΔB = B_site − B_global
  kAverage,  // ΔA and ΔB, averaged separately: not the mean of BA, kept for comparison
  kStack,    // A and B themselves: the mean of BA by exact stacking, then truncated by SVD to the rank
  kFedSgd,   // the gradient of B (A frozen): one gradient a round; the aggregator takes the step
};
std::string_view AggregationModeName(AggregationMode mode);  // "freeze-a", "average", "stack", "fedsgd"
absl::StatusOr<AggregationMode> ParseAggregationMode(std::string_view name);

bool TrainsA(AggregationMode mode);  // kAverage, kStack; B is trained in every mode

TensorMap TensorsOf(const Adapter& adapter, AggregationMode mode);  // the trainable ones: B only, or A and B

// update = after − before, over the trainable tensors of `mode` (kStack: after itself).
absl::StatusOr<TensorMap> MakeUpdate(const Adapter& before, const Adapter& after, AggregationMode mode);

std::string SerializeTensors(const TensorMap& tensors);
absl::StatusOr<TensorMap> ParseTensors(std::string_view safetensors);

// y += scale * x. BadFile if names or shapes differ.
absl::Status AddScaled(double scale, const TensorMap& x, TensorMap& y);
double NormOf(const TensorMap& tensors);  // L2 over all values
// RefusedError naming the tensor: missing, unexpected, of another shape, or with a value that is not finite.
absl::Status CheckUpdate(const TensorMap& update, const Adapter& global, AggregationMode mode);

}  // namespace fedglm
