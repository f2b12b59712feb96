// Adapters of a server that are replaced while it computes with them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/status.h"

namespace fedglm::soak {

// Two adapters of random factors for each place where a server may have one, and a link to one of the two, which is
// what the server is told to open. One thread's.
class AdapterSwapper {
 public:
  static absl::StatusOr<AdapterSwapper> Make(const std::filesystem::path& model, const std::filesystem::path& folder,
                                             uint64_t seed);

  // Flags of `fedglm serve`: --adapter and two --serve-adapter.
  std::vector<std::string> Arguments() const;
  // What requests call them.
  static std::vector<std::string> Names() { return {"ward-north", "ward-south"}; }

  // Points one place's link at its other adapter, place by place. The server looks when it is told (SIGUSR1).
  absl::Status Swap();
  int64_t swaps() const { return swaps_; }

 private:
  explicit AdapterSwapper(std::filesystem::path folder) : folder_(std::move(folder)) {}
  absl::Status PointAt(size_t place, int version) const;

  std::filesystem::path folder_;
  int64_t swaps_ = 0;
};

}  // namespace fedglm::soak
