// Accepted updates as they lie in the spool, mapped: memory holds what a strategy asks for, not the updates.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "aggregator/updates/round_updates.h"
#include "aggregator/updates/update_file.h"
#include "base/status.h"

namespace fedglm {

class MappedUpdates : public RoundUpdates {
 public:
  // One more, after those that are there. BadFile or NotFound if the file no longer has the bytes of that digest, all
  // of which are read.
  absl::Status Add(const std::filesystem::path& safetensors, const std::string& sha256, int64_t weight);

  size_t size() const override { return updates_.size(); }
  int64_t weight(size_t update) const override { return updates_[update].weight; }
  absl::Status Read(size_t update, const std::string& tensor, std::span<float> values) const override;

 private:
  struct Update {
    UpdateFile file;
    int64_t weight = 1;
  };
  std::vector<Update> updates_;
};

}  // namespace fedglm
