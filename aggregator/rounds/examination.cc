#include "aggregator/rounds/examination.h"

#include "adapter/tensors.h"
#include "aggregator/rules/round_result.h"
#include "base/utf8.h"

namespace fedglm {
namespace {

constexpr size_t kMaxReason = 300;

}  // namespace

std::string ShortReason(std::string_view reason) { return OneLine(reason, kMaxReason); }

UpdateRow Examine(UpdateRow update, const UpdateClaim& claim, const std::string& bytes, const Adapter& global,
                  UpdateForm form) {
  const absl::StatusOr<TensorMap> tensors = ParseTensors(bytes);
  absl::Status fits = tensors.ok() ? CheckUpdate(*tensors, global, form) : tensors.status();
  if (fits.ok()) fits = CheckRange(*tensors, claim.examples);
  update.state = fits.ok() ? UpdateState::kAccepted : UpdateState::kRefused;
  update.reason = fits.ok() ? "" : ShortReason(Message(fits));
  update.sha256 = claim.sha256;
  update.bytes = static_cast<int64_t>(bytes.size());
  update.examples = claim.examples;
  update.training_loss = claim.training_loss;
  return update;
}

}  // namespace fedglm
