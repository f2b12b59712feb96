#include "client/privacy.h"

namespace fedglm {

double ClipUpdate(const PrivacyOptions& options, TensorMap& update) {
  const double norm = NormOf(update);
  if (options.max_update_norm <= 0 || norm <= options.max_update_norm) return norm;
  const double scale = options.max_update_norm / norm;
  for (auto& [name, tensor] : update) {
    for (float& value : tensor.values) value = static_cast<float>(value * scale);
  }
  return norm;
}

}  // namespace fedglm
