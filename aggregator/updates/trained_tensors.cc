#include "aggregator/updates/trained_tensors.h"

namespace fedglm {
namespace {

template <typename AnyAdapter, typename Visit>
absl::Status ForEachTrained(AnyAdapter& adapter, UpdateForm form, const Visit& visit) {
  for (auto& [module, pair] : adapter.modules) {
    if (TrainsA(form)) FEDGLM_RETURN_IF_ERROR(visit(module + ".lora_A", pair.a));
    FEDGLM_RETURN_IF_ERROR(visit(module + ".lora_B", pair.b));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status VisitTrained(const Adapter& global, UpdateForm form,
                          const std::function<absl::Status(const std::string& name, const Matrix& matrix)>& visit) {
  return ForEachTrained(global, form, visit);
}

absl::StatusOr<Adapter> ChangeTrained(
    const Adapter& global, UpdateForm form,
    const std::function<absl::Status(const std::string& name, Matrix& matrix)>& change) {
  Adapter adapter;
  adapter.config = global.config;
  adapter.modules = global.modules;
  FEDGLM_RETURN_IF_ERROR(ForEachTrained(adapter, form, change));
  return adapter;
}

}  // namespace fedglm
