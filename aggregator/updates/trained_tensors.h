// The tensors of an adapter that a form trains, one at a time.
#pragma once

#include <functional>
#include <string>

#include "adapter/adapter.h"
#include "adapter/update_form.h"
#include "base/status.h"

namespace fedglm {

// Calls `visit(name, matrix)` on each, in the order of their names; the first error ends it.
absl::Status VisitTrained(const Adapter& global, UpdateForm form,
                          const std::function<absl::Status(const std::string& name, const Matrix& matrix)>& visit);

// The adapter, without provenance, after `change(name, matrix)` on each; the first error ends it.
absl::StatusOr<Adapter> ChangeTrained(
    const Adapter& global, UpdateForm form,
    const std::function<absl::Status(const std::string& name, Matrix& matrix)>& change);

}  // namespace fedglm
