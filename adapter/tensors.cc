#include "adapter/tensors.h"

#include <cmath>

#include "adapter/safetensors.h"

namespace fedglm {
namespace {

// The first name that only one of the two has, or whose shapes differ.
template <typename MakeError>
absl::Status CheckSameShapes(const TensorMap& expected, const TensorMap& actual, const MakeError& error) {
  for (const auto& [name, tensor] : expected) {
    const auto found = actual.find(name);
    if (found == actual.end()) return error("tensor '" + name + "' is missing");
    if (found->second.rows != tensor.rows || found->second.columns != tensor.columns) {
      return error("tensor '" + name + "' has another shape");
    }
  }
  for (const auto& [name, tensor] : actual) {
    if (expected.count(name) == 0) return error("tensor '" + name + "' is not expected");
  }
  return absl::OkStatus();
}

}  // namespace

TensorMap TensorsOf(const Adapter& adapter, UpdateForm form) {
  TensorMap tensors;
  for (const auto& [module, pair] : adapter.modules) {
    if (TrainsA(form)) tensors[module + ".lora_A"] = pair.a;
    tensors[module + ".lora_B"] = pair.b;
  }
  return tensors;
}

absl::StatusOr<TensorMap> MakeUpdate(const Adapter& before, const Adapter& after, UpdateForm form) {
  TensorMap update = TensorsOf(after, form);
  const TensorMap start = TensorsOf(before, form);
  if (form == UpdateForm::kFactors) {
    FEDGLM_RETURN_IF_ERROR(CheckSameShapes(start, update, BadFileError));
    return update;
  }
  FEDGLM_RETURN_IF_ERROR(AddScaled(-1.0, start, update));
  return update;
}

std::string SerializeTensors(const TensorMap& tensors) { return SerializeSafetensors(tensors, {{"format", "pt"}}); }

absl::StatusOr<TensorMap> ParseTensors(std::string_view safetensors) {
  FEDGLM_ASSIGN_OR_RETURN(SafetensorsFile file, ParseSafetensors(safetensors, "update"));
  return std::move(file.tensors);
}

absl::Status AddScaled(double scale, const TensorMap& x, TensorMap& y) {
  FEDGLM_RETURN_IF_ERROR(CheckSameShapes(y, x, BadFileError));
  for (auto& [name, tensor] : y) {
    const std::vector<float>& from = x.at(name).values;
    for (size_t i = 0; i < from.size(); ++i) {
      tensor.values[i] = static_cast<float>(tensor.values[i] + scale * from[i]);
    }
  }
  return absl::OkStatus();
}

double NormOf(const TensorMap& tensors) {
  double sum = 0;
  for (const auto& [name, tensor] : tensors) {
    for (const float value : tensor.values) sum += static_cast<double>(value) * value;
  }
  return std::sqrt(sum);
}

absl::Status CheckUpdate(const TensorMap& update, const Adapter& global, UpdateForm form) {
  FEDGLM_RETURN_IF_ERROR(CheckSameShapes(TensorsOf(global, form), update, RefusedError));
  for (const auto& [name, tensor] : update) {
    for (const float value : tensor.values) {
      if (!std::isfinite(value)) return RefusedError("tensor '" + name + "' has a value that is not finite");
    }
  }
  return absl::OkStatus();
}

}  // namespace fedglm
