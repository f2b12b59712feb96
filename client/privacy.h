// What is done to an update before it may leave the site.
#pragma once

#include "adapter/tensors.h"

namespace fedglm {

struct PrivacyOptions {
  double max_update_norm = 0;  // L2 bound of an update (the clipping norm); 0: none
};

// Scales the update down to the clipping norm: u ← u · min(1, C / ‖u‖₂) (McMahan et al. 2018, arXiv:1710.06963).
// Returns the norm that it had.
double ClipUpdate(const PrivacyOptions& options, TensorMap& update);

}  // namespace fedglm
