#include "aggregator/rules/update_claim.h"

#include <cmath>

#include "adapter/tensors.h"
#include "aggregator/updates/exact_mean.h"
#include "base/digest.h"

namespace fedglm {

std::string UpdateIdOf(const std::string& federation, int64_t round, const std::string& site_id,
                       const std::string& adapter_sha256) {
  return Sha256Hex(federation + "\n" + std::to_string(round) + "\n" + site_id + "\n" + adapter_sha256).substr(0, 32);
}

uint64_t MostUpdateBytes(const Adapter& global, UpdateForm form) {
  uint64_t bytes = 1 << 20;
  for (const auto& [name, tensor] : TensorsOf(global, form)) {
    bytes += tensor.values.size() * sizeof(float) + name.size() + 256;
  }
  return bytes;
}

std::string FaultOf(const UpdateClaim& claim, const ClaimTerms& terms) {
  if (claim.round != terms.round) return "the update is of another round";
  if (claim.base_sha256 != terms.base_sha256) return "the update is for another base";
  if (claim.adapter_sha256 != terms.adapter_sha256) return "the update starts from another adapter";
  if (claim.mode != terms.mode) return "the update is of mode " + claim.mode;
  if (claim.examples < 1) return "the update comes from no example";
  if (claim.examples > kLargestWeight) return "the update comes from more examples than anybody has";
  if (!std::isfinite(claim.training_loss)) return "the training loss is not finite";
  if (claim.bytes == 0 || claim.bytes > terms.max_bytes) {
    return "the update has " + std::to_string(claim.bytes) + " bytes; the limit is " + std::to_string(terms.max_bytes);
  }
  return "";
}

}  // namespace fedglm
