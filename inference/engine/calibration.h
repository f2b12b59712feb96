// Calibration: what each matrix is multiplied with while the model reads a text. The error of an output is the sum of
// its weights' errors times their inputs; from the inputs' second moments QuantizeFile knows which errors matter and
// which cancel each other. docs/quantization.md
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "inference/engine/engine.h"
#include "inference/gguf/quantize_file.h"
#include "inference/model/activation_observer.h"
#include "inference/quantization/input_moments.h"

namespace fedglm {

// Not thread-safe.
class MomentCollector : public ActivationObserver {
 public:
  void Observe(const std::string& gguf_name, const float* x, int64_t rows, int64_t columns) override;
  // Of what was seen so far, for each matrix that was seen.
  MomentsByTensor Moments() const;

  // What this holds when it has seen every matrix of a model.
  static uint64_t Bytes(const Hyperparameters& hyperparameters);

 private:
  std::map<std::string, std::shared_ptr<InputMoments>> moments_;  // matrices with the same input share them
};

struct CalibrationOptions {
  int threads = 0;             // 0: physical cores the process may use
  int64_t window = 512;        // tokens that are read as one sequence
  uint64_t memory_budget = 0;  // bytes, of the engine and what is measured together; 0: as EngineOptions
};

// What the model reads: sequences of at most `window` tokens, made with the engine's tokenizer and chat template.
using CalibrationSequences =
    std::function<absl::StatusOr<std::vector<std::vector<Token>>>(const Engine& engine, int64_t window)>;

// A text cut into windows, each after the model's start tokens; control tokens that it spells are read as such. BadFile
// if it has less than 2 tokens.
CalibrationSequences SequencesOfText(std::string text);

// What is measured stays in memory (MomentCollector::Bytes) and counts in the budget like everything else: of the model
// more is streamed for it. `progress` gets the tokens read and how many there are; its error ends the work. BadFile if
// the model has no vocabulary or cannot run; ResourceExhausted, before anything is read, saying how much is needed, if
// the budget is too small; errors of `sequences`.
absl::StatusOr<MomentsByTensor> MeasureMoments(
    const std::filesystem::path& model, const CalibrationSequences& sequences, const CalibrationOptions& options,
    const std::function<absl::Status(int64_t done, int64_t total)>& progress);

}  // namespace fedglm
