#include "aggregator/updates/update_check.h"

#include <cmath>
#include <string>

#include "aggregator/updates/exact_mean.h"
#include "aggregator/updates/trained_tensors.h"

namespace fedglm {
namespace {

absl::Status CheckShapes(const SafetensorsView& update, const Adapter& global, UpdateForm form) {
  std::map<std::string, SafetensorsView::Tensor> unexpected = update.tensors();
  const auto check = [&](const std::string& name, const Matrix& matrix) -> absl::Status {
    const auto found = unexpected.find(name);
    if (found == unexpected.end()) return RefusedError("tensor '" + name + "' is missing");
    if (found->second.rows != matrix.rows || found->second.columns != matrix.columns) {
      return RefusedError("tensor '" + name + "' has another shape");
    }
    unexpected.erase(found);
    return absl::OkStatus();
  };
  FEDGLM_RETURN_IF_ERROR(VisitTrained(global, form, check));
  if (unexpected.empty()) return absl::OkStatus();
  return RefusedError("tensor '" + unexpected.begin()->first + "' is not expected");
}

}  // namespace

absl::Status CheckUpdateFile(const UpdateFile& update, const Adapter& global, UpdateForm form) {
  FEDGLM_RETURN_IF_ERROR(CheckShapes(update.tensors(), global, form));
  for (const auto& [name, tensor] : update.tensors().tensors()) {
    const auto check = [&name = name](std::span<const float> values) -> absl::Status {
      for (const float value : values) {
        if (std::abs(value) <= kLargestValue) continue;
        if (!std::isfinite(value)) return RefusedError("tensor '" + name + "' has a value that is not finite");
        return RefusedError("tensor '" + name + "' has a value beyond 2^30");
      }
      return absl::OkStatus();
    };
    FEDGLM_RETURN_IF_ERROR(update.Visit(tensor, check));
  }
  return absl::OkStatus();
}

}  // namespace fedglm
