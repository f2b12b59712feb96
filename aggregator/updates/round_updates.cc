#include "aggregator/updates/round_updates.h"

namespace fedglm {

absl::StatusOr<std::vector<std::vector<float>>> ReadFromAll(const RoundUpdates& updates, const std::string& tensor,
                                                            size_t values) {
  std::vector<std::vector<float>> all(updates.size(), std::vector<float>(values));
  for (size_t update = 0; update < all.size(); ++update) {
    FEDGLM_RETURN_IF_ERROR(updates.Read(update, tensor, all[update]));
  }
  return all;
}

}  // namespace fedglm
