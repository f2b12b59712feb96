// Named float32 tensors: an adapter's factors, a site's update, a gradient. The payload of an upload is these as
// safetensors bytes (docs/adapter-format.md).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "adapter/adapter.h"
#include "adapter/update_form.h"
#include "base/status.h"

namespace fedglm {

// By name: "<module>.lora_A", "<module>.lora_B".
using TensorMap = std::map<std::string, Matrix>;

TensorMap TensorsOf(const Adapter& adapter, UpdateForm form);  // the trainable ones: B only, or A and B

// update = after − before, over the trainable tensors of `form` (kFactors: `after` itself).
absl::StatusOr<TensorMap> MakeUpdate(const Adapter& before, const Adapter& after, UpdateForm form);

std::string SerializeTensors(const TensorMap& tensors);
absl::StatusOr<TensorMap> ParseTensors(std::string_view safetensors);

// y += scale * x. BadFile if names or shapes differ.
absl::Status AddScaled(double scale, const TensorMap& x, TensorMap& y);
double NormOf(const TensorMap& tensors);  // L2 over all values
// RefusedError naming the tensor: missing, unexpected, of another shape, or with a value that is not finite.
absl::Status CheckUpdate(const TensorMap& update, const Adapter& global, UpdateForm form);

}  // namespace fedglm
