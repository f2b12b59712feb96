// A server as a process of its own, and what it cost until now.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/process.h"
#include "base/status.h"

namespace fedglm::bench {

// Ended when destroyed.
class ServerProcess {
 public:
  // Once `addresses`, a JSON file that the program writes, is there with the address "federation". Failed after a
  // minute.
  static absl::StatusOr<ServerProcess> Start(std::vector<std::string> arguments,
                                             const std::filesystem::path& addresses);

  const std::string& address() const { return address_; }
  absl::StatusOr<double> CpuSeconds() const;
  absl::StatusOr<uint64_t> PeakRssBytes() const;

 private:
  std::string address_;
  std::unique_ptr<Process> process_;
};

}  // namespace fedglm::bench
