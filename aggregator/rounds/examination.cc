#include "aggregator/rounds/examination.h"

#include "aggregator/updates/update_check.h"
#include "base/utf8.h"

namespace fedglm {
namespace {

constexpr size_t kMaxReason = 300;

}  // namespace

std::string ShortReason(std::string_view reason) { return OneLine(reason, kMaxReason); }

absl::StatusOr<UpdateRow> Examine(UpdateRow update, const UpdateClaim& claim, UpdateFile& file, const Adapter& global,
                                  UpdateForm form) {
  absl::Status fits = file.Parse("update");
  if (fits.ok()) fits = CheckUpdateFile(file, global, form);
  FEDGLM_RETURN_IF_ERROR(file.CheckIntact());
  update.state = fits.ok() ? UpdateState::kAccepted : UpdateState::kRefused;
  update.reason = fits.ok() ? "" : ShortReason(Message(fits));
  update.sha256 = claim.sha256;
  update.bytes = static_cast<int64_t>(file.size());
  update.examples = claim.examples;
  update.training_loss = claim.training_loss;
  return update;
}

}  // namespace fedglm
