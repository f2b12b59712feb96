// What a site is to do next.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

namespace fedglm {

struct WaitWork {};
struct TrainWork {
  int64_t round = 0;
  std::string adapter_sha256, update_id;
};
struct InstallWork {
  int64_t round = 0;
  std::string adapter_sha256;
};
struct FinishedWork {};
using Work = std::variant<WaitWork, TrainWork, InstallWork, FinishedWork>;

}  // namespace fedglm
