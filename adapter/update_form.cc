#include "adapter/update_form.h"

#include <string>

namespace fedglm {
namespace {

struct FormRow {
  UpdateForm form;
  std::string_view name;
  bool trains_a;
};

constexpr FormRow kForms[] = {
    {UpdateForm::kChangeOfB, "freeze-a", false},
    {UpdateForm::kChangeOfFactors, "average", true},
    {UpdateForm::kFactors, "stack", true},
    {UpdateForm::kGradientOfB, "fedsgd", false},
};

const FormRow& RowOf(UpdateForm form) { return kForms[static_cast<size_t>(form)]; }
static_assert(kForms[static_cast<size_t>(UpdateForm::kGradientOfB)].form == UpdateForm::kGradientOfB);

}  // namespace

std::string_view UpdateFormName(UpdateForm form) { return RowOf(form).name; }

absl::StatusOr<UpdateForm> ParseUpdateForm(std::string_view name) {
  for (const FormRow& row : kForms) {
    if (name == row.name) return row.form;
  }
  return UsageError("'" + std::string(name) + "' is not a mode: freeze-a, average, stack or fedsgd");
}

bool TrainsA(UpdateForm form) { return RowOf(form).trains_a; }

}  // namespace fedglm
