// What of the engine depends on the machine and is found by measuring, and the rule by which it is chosen.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace fedglm {

inline constexpr int64_t kUsualPrefillChunk = 256;  // where nothing was measured

struct Tuning {
  int decode_threads = 1;     // for a pass over the rows of answers: bound by memory bandwidth
  int prefill_threads = 1;    // for a pass over a prompt's rows: bound by arithmetic
  int64_t prefill_chunk = 1;  // rows of a prompt in one pass

  bool operator==(const Tuning&) const = default;
};

struct TuningCandidates {
  std::vector<int> threads;             // ascending
  std::vector<int64_t> prefill_chunks;  // ascending
  Tuning usual;                         // taken unless another is clearly faster; made of the above
};

// All thread counts up to 8, then fewer and fewer; with `processors` > `cores` (hyper-threads) that many too.
TuningCandidates CandidatesFor(int cores, int processors);

// Seconds that so many threads take to multiply `rows` rows of activations with a part of the model's weights. The part
// is the same for all calls with one row, and the same for all with more.
using MeasurePass = std::function<double(int threads, int64_t rows)>;

struct TuningChoice {
  Tuning tuning;
  bool steady = false;  // false: the machine was busy with other things; `tuning` is the usual one, and worth nothing
};

// Measures for about `seconds`, at most twice that and one pass. Candidates are measured in turns, each is as fast as
// its fastest pass (what disturbs a pass only slows it), and must be over 5 % faster than the usual one to be chosen
// instead.
TuningChoice ChooseTuning(const TuningCandidates& candidates, const MeasurePass& measure, double seconds);

}  // namespace fedglm
