#include "inference/engine/calibration.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/configuration.h"
#include "inference/gguf/gguf_file.h"

namespace fedglm {

namespace {

// Of the matrices that are multiplied with the same vector, the one that the forward pass meets first.
std::string FirstWithInputOf(const std::string& gguf_name) {
  static constexpr std::pair<std::string_view, std::string_view> kFollowers[] = {
      {".attn_k.weight", ".attn_q.weight"},
      {".attn_v.weight", ".attn_q.weight"},
      {".ffn_up.weight", ".ffn_gate.weight"}};
  for (const auto& [follower, first] : kFollowers) {
    if (!gguf_name.ends_with(follower)) continue;
    return gguf_name.substr(0, gguf_name.size() - follower.size()) + std::string(first);
  }
  return gguf_name;
}

}  // namespace

void MomentCollector::Observe(const std::string& gguf_name, const float* x, int64_t rows, int64_t columns) {
  std::shared_ptr<InputMoments>& moments = moments_[gguf_name];
  if (const std::string first = FirstWithInputOf(gguf_name); first != gguf_name) {
    const auto found = moments_.find(first);  // a fused ffn_up has no ffn_gate before it
    if (found != moments_.end()) {
      moments = found->second;
      return;
    }
  }
  if (moments == nullptr) moments = std::make_shared<InputMoments>(columns);
  moments->Add(x, rows);
}

MomentsByTensor MomentCollector::Moments() const { return {moments_.begin(), moments_.end()}; }

uint64_t MomentCollector::Bytes(const Hyperparameters& hyperparameters) {
  std::map<std::string, int64_t> columns = {{"output.weight", hyperparameters.hidden}};  // or the tied embedding
  for (const LinearModule& module : LinearModules(hyperparameters)) {
    // The first comes first here, too.
    const std::string first = FirstWithInputOf(module.gguf_name);
    if (first == module.gguf_name || !columns.contains(first)) columns[module.gguf_name] = module.inputs;
  }
  uint64_t bytes = 0;
  for (const auto& [name, count] : columns) bytes += InputMoments::Bytes(count);
  return bytes;
}

CalibrationSequences SequencesOfText(std::string text) {
  return [text = std::move(text)](const Engine& engine,
                                  int64_t window) -> absl::StatusOr<std::vector<std::vector<Token>>> {
    const std::vector<Token> tokens = engine.tokenizer().Encode(text, {.add_special = false, .parse_special = true});
    const std::vector<Token> start = engine.tokenizer().Encode("", {.add_special = true});
    if (tokens.size() < 2) return BadFileError("the calibration text is too short");
    const size_t step = static_cast<size_t>(std::max<int64_t>(2, window - static_cast<int64_t>(start.size())));
    std::vector<std::vector<Token>> sequences;
    for (size_t begin = 0; begin < tokens.size(); begin += step) {
      const size_t end = std::min(tokens.size(), begin + step);
      std::vector<Token>& sequence = sequences.emplace_back(start);
      sequence.insert(sequence.end(), tokens.begin() + static_cast<ptrdiff_t>(begin),
                      tokens.begin() + static_cast<ptrdiff_t>(end));
    }
    return sequences;
  };
}

namespace {

absl::StatusOr<uint64_t> MomentBytes(const std::filesystem::path& model) {
  FEDGLM_ASSIGN_OR_RETURN(const std::shared_ptr<const GgufFile> file, GgufFile::Open(model));
  FEDGLM_ASSIGN_OR_RETURN(const Hyperparameters hyperparameters, ReadHyperparameters(*file));
  return MomentCollector::Bytes(hyperparameters);
}

}  // namespace

absl::StatusOr<MomentsByTensor> MeasureMoments(
    const std::filesystem::path& model, const CalibrationSequences& sequences, const CalibrationOptions& options,
    const std::function<absl::Status(int64_t done, int64_t total)>& progress) {
  MomentCollector collector;
  EngineOptions engine_options;
  engine_options.threads = options.threads;
  engine_options.context = options.window;
  engine_options.memory_budget = options.memory_budget;
  engine_options.observer = &collector;
  FEDGLM_ASSIGN_OR_RETURN(engine_options.caller_bytes, MomentBytes(model));
  absl::StatusOr<std::unique_ptr<Engine>> opened = Engine::Open(model, engine_options);
  if (absl::IsResourceExhausted(opened.status())) {
    return Annotate(opened.status(),
                    "calibration, which keeps " + FormatByteSize(engine_options.caller_bytes) + " of measurements");
  }
  FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, std::move(opened));
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<std::vector<Token>> read, sequences(*engine, engine->context()));
  int64_t done = 0, total = 0;
  for (const std::vector<Token>& sequence : read) total += static_cast<int64_t>(sequence.size());
  for (const std::vector<Token>& sequence : read) {
    const auto discard = [](const float*, int64_t) { return absl::OkStatus(); };
    FEDGLM_RETURN_IF_ERROR(engine->Logits(sequence, discard));
    done += static_cast<int64_t>(sequence.size());
    FEDGLM_RETURN_IF_ERROR(progress(done, total));
  }
  return collector.Moments();
}

}  // namespace fedglm
