#include "inference/autotune/tuning.h"

#include <algorithm>
#include <cstddef>
#include <optional>

namespace fedglm {
namespace {

constexpr double kClearlyFaster = 0.95;
// A median so far above the fastest pass means that half of the passes shared the processors with something else.
constexpr double kSteadySpread = 1.3;
constexpr size_t kLeastRounds = 3, kMostRounds = 25;

// Seconds of candidate i's passes: [candidates][rounds].
using Samples = std::vector<std::vector<double>>;

Samples MeasureInTurns(size_t candidates, const std::function<double(size_t)>& measure, double seconds) {
  Samples samples(candidates);
  double spent = 0;
  for (size_t round = 0; round <= kMostRounds; ++round) {
    if (round > kLeastRounds && spent >= seconds) return samples;
    for (size_t i = 0; i < candidates; ++i) {
      const double pass = measure(i);
      spent += pass;
      if (round > 0) samples[i].push_back(pass);  // the first one warms up
      if (spent >= 2 * seconds) return samples;
    }
  }
  return samples;
}

// The chosen candidate; nothing if the samples are too few or too far apart to tell.
std::optional<size_t> Fastest(Samples samples, size_t usual) {
  for (std::vector<double>& passes : samples) {
    if (passes.size() < kLeastRounds) return std::nullopt;
    std::sort(passes.begin(), passes.end());
  }
  const std::vector<double>& known = samples[usual];
  if (known[known.size() / 2] > kSteadySpread * known.front()) return std::nullopt;
  size_t fastest = 0;
  for (size_t i = 1; i < samples.size(); ++i) {
    if (samples[i].front() < samples[fastest].front()) fastest = i;
  }
  return samples[fastest].front() < kClearlyFaster * known.front() ? fastest : usual;
}

template <typename Value>
size_t IndexOf(const std::vector<Value>& values, Value value) {
  return static_cast<size_t>(std::find(values.begin(), values.end(), value) - values.begin());
}

}  // namespace

TuningCandidates CandidatesFor(int cores, int processors) {
  TuningCandidates candidates;
  // In steps of an eighth: what lies between differs by less than can be measured.
  for (int threads = 1; threads < cores; threads += 1 + threads / 8) candidates.threads.push_back(threads);
  candidates.threads.push_back(cores);
  if (processors > cores) candidates.threads.push_back(processors);
  candidates.prefill_chunks = {kUsualPrefillChunk / 4, kUsualPrefillChunk / 2, kUsualPrefillChunk};
  candidates.usual = {cores, cores, kUsualPrefillChunk};
  return candidates;
}

TuningChoice ChooseTuning(const TuningCandidates& candidates, const MeasurePass& measure, double seconds) {
  const std::vector<int>& threads = candidates.threads;
  const std::vector<int64_t>& chunks = candidates.prefill_chunks;
  const TuningChoice unsteady = {candidates.usual, false};

  const auto decode = Fastest(MeasureInTurns(
                                  threads.size(), [&](size_t i) { return measure(threads[i], 1); }, seconds / 3),
                              IndexOf(threads, candidates.usual.decode_threads));
  if (!decode) return unsteady;
  const int64_t usual_chunk = candidates.usual.prefill_chunk;
  const auto prefill =
      Fastest(MeasureInTurns(
                  threads.size(), [&](size_t i) { return measure(threads[i], usual_chunk); }, seconds / 3),
              IndexOf(threads, candidates.usual.prefill_threads));
  if (!prefill) return unsteady;
  Samples by_chunk = MeasureInTurns(
      chunks.size(), [&](size_t i) { return measure(threads[*prefill], chunks[i]); }, seconds / 3);
  for (size_t i = 0; i < chunks.size(); ++i) {
    for (double& pass : by_chunk[i]) pass /= static_cast<double>(chunks[i]);  // a row's share
  }
  const auto chunk = Fastest(std::move(by_chunk), IndexOf(chunks, usual_chunk));
  if (!chunk) return unsteady;
  return {{threads[*decode], threads[*prefill], chunks[*chunk]}, true};
}

}  // namespace fedglm
