// The accepted updates of a round, as a strategy reads them: one tensor of one update at a time, so that memory never
// holds the updates of a round.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"

namespace fedglm {

// In the order of the updates' ids, whatever order they arrived in. Their values are finite and, as their weights, so
// small that no sum overflows (exact_mean.h). Thread-safe.
class RoundUpdates {
 public:
  virtual ~RoundUpdates() = default;
  virtual size_t size() const = 0;
  virtual int64_t weight(size_t update) const = 0;  // at least 1
  // The values of a tensor, row by row. Failed if the update has no such tensor, or one of another size.
  virtual absl::Status Read(size_t update, const std::string& tensor, std::span<float> values) const = 0;
};

// A tensor of every update: [updates][values].
absl::StatusOr<std::vector<std::vector<float>>> ReadFromAll(const RoundUpdates& updates, const std::string& tensor,
                                                            size_t values);

// Some of them, with other weights.
class ChosenUpdates : public RoundUpdates {
 public:
  struct Choice {
    size_t update = 0;  // of `all`
    int64_t weight = 1;
  };
  // `all` outlives it.
  ChosenUpdates(const RoundUpdates& all, std::vector<Choice> chosen) : all_(all), chosen_(std::move(chosen)) {}
  size_t size() const override { return chosen_.size(); }
  int64_t weight(size_t update) const override { return chosen_[update].weight; }
  absl::Status Read(size_t update, const std::string& tensor, std::span<float> values) const override {
    return all_.Read(chosen_[update].update, tensor, values);
  }

 private:
  const RoundUpdates& all_;
  const std::vector<Choice> chosen_;
};

}  // namespace fedglm
