#include "inference/autotune/autotune.h"

#include <algorithm>
#include <map>
#include <memory>
#include <string>

#include "base/cpu.h"
#include "base/log.h"
#include "inference/autotune/layer_timer.h"
#include "inference/kernels/instruction_sets.h"

namespace fedglm {
namespace {

constexpr double kMeasuringSeconds = 0.5;

// The type of most of the layers' bytes.
BlockType DominantType(const GgufFile& file) {
  std::map<BlockType, size_t> bytes;
  for (const GgufTensor& tensor : file.tensors()) {
    if (tensor.name.rfind("blk.", 0) == 0) bytes[tensor.type] += tensor.bytes.size();
  }
  const auto most =
      std::max_element(bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == bytes.end() ? BlockType::kF32 : most->first;
}

std::string Describe(const Tuning& tuning) {
  return std::to_string(tuning.decode_threads) + " threads for answers, " + std::to_string(tuning.prefill_threads) +
         " for prompts, in chunks of " + std::to_string(tuning.prefill_chunk);
}

}  // namespace

Tuning FindTuning(const TuningKey& key, const TuningCandidates& candidates, const MeasurePass& measure,
                  const std::filesystem::path& folder) {
  const absl::StatusOr<Tuning> kept = ReadTuning(folder, key);
  if (kept.ok()) return *kept;
  std::string trouble;
  if (kept.status().code() != absl::StatusCode::kNotFound) trouble = Message(kept.status()) + "; measured again";
  const TuningChoice choice = ChooseTuning(candidates, measure, kMeasuringSeconds);
  if (choice.steady) {
    LogInfo("autotune: " + Describe(choice.tuning));
    const absl::Status written = WriteTuning(folder, key, choice.tuning);
    if (!written.ok()) trouble = Message(written) + "; it will be measured at every start";
  } else {
    LogInfo("autotune: the machine is too busy to measure; " + Describe(choice.tuning));
  }
  if (!trouble.empty()) LogWarning("autotune: " + trouble);
  return choice.tuning;
}

Tuning Autotune(const GgufFile& file, const Hyperparameters& hyperparameters, const std::filesystem::path& folder) {
  const int cores = UsablePhysicalCores();
  const TuningKey key = {CpuModelName(),
                         cores,
                         UsableProcessors(),
                         std::string(InstructionSet()),
                         std::string(FactsOf(DominantType(file)).name),
                         hyperparameters.hidden};
  const TuningCandidates candidates = CandidatesFor(key.cores, key.processors);
  // Made by the first pass that is measured: a tuning that is kept needs none.
  std::unique_ptr<LayerTimer> timer;
  const auto measure = [&](int threads, int64_t rows) {
    if (timer == nullptr) {
      absl::StatusOr<std::unique_ptr<LayerTimer>> made =
          LayerTimer::Make(file, candidates.prefill_chunks.back(), cores);
      if (!made.ok()) return 2 * kMeasuringSeconds;  // ends the measuring; what is wrong, opening the model will say
      timer = *std::move(made);
    }
    return timer->Seconds(threads, rows);
  };
  return FindTuning(key, candidates, measure, folder);
}

}  // namespace fedglm
