// How many prompt tokens a step takes beside answers that are being written: as many as leave the answers' readers
// enough tokens a second. (Sarathi-Serve, Agrawal et al. 2024, has such a budget fixed; here it follows from what steps
// take, so that it fits a small model and a large one, a busy machine, and weights that are streamed from a disk.)
#pragma once

#include <cstdint>

namespace fedglm {

// Not thread-safe.
class MixedChunk {
 public:
  // fixed > 0: always that many.
  explicit MixedChunk(int64_t fixed) : fixed_(fixed) {}

  // A multiple of 8, from 8 to 256; 32 until something was observed.
  int64_t tokens() const;
  // A step was computed: rows of answers and of prompts, and how long it took.
  void Observe(int64_t answer_rows, int64_t prompt_rows, double seconds);

 private:
  int64_t fixed_;
  double answers_seconds_ = 0;     // of a step without prompts; 0: not known yet
  double prompt_row_seconds_ = 0;  // what a prompt's row adds to a step; 0: not known yet
};

}  // namespace fedglm
