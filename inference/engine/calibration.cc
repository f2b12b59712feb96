#include "inference/engine/calibration.h"

#include <algorithm>

#include "inference/engine/engine.h"

namespace fedglm {

void ColumnEnergy::Observe(const std::string& gguf_name, const float* x, int64_t rows, int64_t columns) {
  Sums& sums = sums_[gguf_name];
  sums.squares.resize(static_cast<size_t>(columns));
  sums.rows += rows;
  for (int64_t r = 0; r < rows; ++r, x += columns) {
    for (int64_t c = 0; c < columns; ++c) sums.squares[static_cast<size_t>(c)] += static_cast<double>(x[c]) * x[c];
  }
}

ImportanceByTensor ColumnEnergy::Importance() const {
  ImportanceByTensor importance;
  for (const auto& [name, sums] : sums_) {
    std::vector<float>& means = importance[name];
    means.reserve(sums.squares.size());
    const double rows = static_cast<double>(sums.rows);
    for (const double square : sums.squares) means.push_back(static_cast<float>(square / rows));
  }
  return importance;
}

absl::StatusOr<ImportanceByTensor> MeasureImportance(
    const std::filesystem::path& model, const std::string& text, const CalibrationOptions& options,
    const std::function<absl::Status(int64_t done, int64_t total)>& progress) {
  ColumnEnergy energy;
  EngineOptions engine_options;
  engine_options.threads = options.threads;
  engine_options.context = options.window;
  engine_options.memory_budget = options.memory_budget;
  engine_options.observer = &energy;
  FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::Open(model, engine_options));
  const std::vector<Token> tokens = engine->tokenizer().Encode(text, {.add_special = false, .parse_special = true});
  const std::vector<Token> start = engine->tokenizer().Encode("", {.add_special = true});
  if (tokens.size() < 2) return BadFileError("the calibration text is too short");
  const int64_t total = static_cast<int64_t>(tokens.size());
  const int64_t window = std::max<int64_t>(2, engine->context() - static_cast<int64_t>(start.size()));
  for (int64_t begin = 0; begin < total; begin += window) {
    const int64_t end = std::min(total, begin + window);
    std::vector<Token> sequence = start;
    sequence.insert(sequence.end(), tokens.begin() + begin, tokens.begin() + end);
    const auto discard = [](const float*, int64_t) { return absl::OkStatus(); };
    FEDGLM_RETURN_IF_ERROR(engine->Logits(sequence, discard));
    FEDGLM_RETURN_IF_ERROR(progress(end, total));
  }
  return energy.Importance();
}

}  // namespace fedglm
