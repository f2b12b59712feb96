// Progress on stderr: a redrawn bar on a terminal, one plain line now and then elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace fedglm {

class Progress {
 public:
  // `total` < 1: unknown. Nothing is printed if `quiet`.
  Progress(std::string label, int64_t total, bool quiet = false);
  ~Progress();  // ends the line
  void Update(int64_t done, const std::string& note = "");
  void Finish(const std::string& note = "");

 private:
  void Draw(bool final_line);
  std::string label_, note_;
  int64_t total_, done_ = 0;
  bool quiet_, terminal_, finished_ = false;
  std::chrono::steady_clock::time_point started_, drawn_;
};

}  // namespace fedglm
