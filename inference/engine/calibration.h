// Which columns of each matrix matter: the mean square of what they are multiplied with, measured while the model
// reads a text. For a weight w and its input x the output's error is (w - decoded)·x, whose mean square over the text
// is (w - decoded)² times the mean of x²: what EncodeRow is given as importance. docs/quantization.md
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "inference/gguf/quantize_file.h"
#include "inference/model/activation_observer.h"

namespace fedglm {

// Adds up squares. Not thread-safe.
class ColumnEnergy : public ActivationObserver {
 public:
  void Observe(const std::string& gguf_name, const float* x, int64_t rows, int64_t columns) override;
  // Means over the rows that were seen.
  ImportanceByTensor Importance() const;

 private:
  struct Sums {
    std::vector<double> squares;
    int64_t rows = 0;
  };
  std::map<std::string, Sums> sums_;
};

struct CalibrationOptions {
  int threads = 0;          // 0: physical cores the process may use
  int64_t window = 512;     // tokens that are read as one sequence
  uint64_t memory_budget = 0;
};

// Reads `text` with the model in windows. `progress` gets the tokens read and how many there are; its error ends the
// work. BadFile if the model has no vocabulary or cannot run, or the text has less than 2 tokens.
absl::StatusOr<ImportanceByTensor> MeasureImportance(
    const std::filesystem::path& model, const std::string& text, const CalibrationOptions& options,
    const std::function<absl::Status(int64_t done, int64_t total)>& progress);

}  // namespace fedglm
