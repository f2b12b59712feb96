#include "inference/engine/mixed_chunk.h"

#include <algorithm>

namespace fedglm {
namespace {

constexpr int64_t kAtFirst = 32;
// Fewer would be unpacked for in vain: a block of weights costs as much to unpack for one row as for many.
constexpr int64_t kLeast = 8, kMost = 256;
// Ten tokens a second are more than anybody reads. Where the model writes fewer, half of its time goes to prompts.
constexpr double kReadersSeconds = 0.1, kSlowdown = 2;
constexpr double kWeightOfNew = 0.5;  // the last few steps count

void Follow(double& mean, double value) { mean = mean == 0 ? value : mean + kWeightOfNew * (value - mean); }

}  // namespace

void MixedChunk::Observe(int64_t answer_rows, int64_t prompt_rows, double seconds) {
  if (prompt_rows == 0) {
    Follow(answers_seconds_, seconds);
  } else {
    const double added = answer_rows > 0 ? std::max(0.0, seconds - answers_seconds_) : seconds;
    Follow(prompt_row_seconds_, std::max(added / static_cast<double>(prompt_rows), 1e-9));
  }
}

int64_t MixedChunk::tokens() const {
  if (fixed_ > 0) return fixed_;
  if (prompt_row_seconds_ == 0) return kAtFirst;
  const double allowed = std::max(kReadersSeconds, kSlowdown * answers_seconds_) - answers_seconds_;
  const double rows = std::clamp<double>(allowed / prompt_row_seconds_, kLeast, kMost);
  return static_cast<int64_t>(rows) / kLeast * kLeast;
}

}  // namespace fedglm
