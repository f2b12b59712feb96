// For tests: the updates of a round in memory.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "adapter/tensors.h"
#include "aggregator/updates/round_updates.h"

namespace fedglm {

class MemoryUpdates : public RoundUpdates {
 public:
  MemoryUpdates(std::vector<TensorMap> updates, std::vector<int64_t> weights)
      : updates_(std::move(updates)), weights_(std::move(weights)) {}

  size_t size() const override { return updates_.size(); }
  int64_t weight(size_t update) const override { return weights_[update]; }
  absl::Status Read(size_t update, const std::string& tensor, std::span<float> values) const override {
    const auto found = updates_[update].find(tensor);
    if (found == updates_[update].end()) return BadFileError("tensor '" + tensor + "' is missing");
    if (found->second.values.size() != values.size()) return BadFileError("tensor '" + tensor + "' has another size");
    std::copy(found->second.values.begin(), found->second.values.end(), values.begin());
    return absl::OkStatus();
  }

 private:
  const std::vector<TensorMap> updates_;
  const std::vector<int64_t> weights_;
};

}  // namespace fedglm
