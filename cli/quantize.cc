// fedglm quantize IN OUT TYPE: the same model with its matrices in other block types, measured on a text if one is
// given.
#include <cstdio>
#include <memory>
#include <optional>

#include "base/clock.h"
#include "base/configuration.h"
#include "base/file.h"
#include "base/json.h"
#include "base/process.h"
#include "base/progress.h"
#include "cli/command.h"
#include "inference/engine/calibration.h"
#include "inference/gguf/quantize_file.h"
#include "training/data/records.h"

namespace fedglm::cli {
namespace {

struct QuantizeFlags {
  std::string in, out, type, calibration, memory_budget;
  int threads = 0;
  bool json = false;
};

absl::Status StillWanted() { return StopRequested() ? CancelledError("stopped") : absl::OkStatus(); }

// As the trainer reads them: conversations in the model's chat template.
CalibrationSequences SequencesOfRecords(const std::filesystem::path& file) {
  return [file](const Engine& engine, int64_t window) -> absl::StatusOr<std::vector<std::vector<Token>>> {
    FEDGLM_ASSIGN_OR_RETURN(ExampleSet set, LoadExamples({file}, engine.tokenizer(), engine.chat_template(), window));
    std::vector<std::vector<Token>> sequences;
    for (Example& example : set.examples) sequences.push_back(std::move(example.tokens));
    return sequences;
  };
}

absl::StatusOr<MomentsByTensor> Calibrate(const QuantizeFlags& flags) {
  CalibrationSequences sequences;
  if (std::filesystem::path(flags.calibration).extension() == ".jsonl") {
    sequences = SequencesOfRecords(flags.calibration);
  } else {
    FEDGLM_ASSIGN_OR_RETURN(std::string text, ReadFile(flags.calibration));
    sequences = SequencesOfText(std::move(text));
  }
  std::unique_ptr<Progress> progress;
  CalibrationOptions options;
  options.threads = flags.threads;
  if (!flags.memory_budget.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(options.memory_budget, ParseByteSize(flags.memory_budget));
  }
  absl::StatusOr<MomentsByTensor> moments =
      MeasureMoments(flags.in, sequences, options, [&](int64_t done, int64_t total) {
        if (progress == nullptr) progress = std::make_unique<Progress>("calibrate", total, flags.json);
        progress->Update(done);
        return StillWanted();
      });
  if (moments.ok() && progress != nullptr) progress->Finish();
  return moments;
}

double BitsPerWeight(uint64_t bytes, int64_t weights) {
  return weights == 0 ? 0.0 : 8.0 * static_cast<double>(bytes) / static_cast<double>(weights);
}

absl::Status RunQuantize(const QuantizeFlags& flags) {
  QuantizeOptions options;
  FEDGLM_ASSIGN_OR_RETURN(options.mix, QuantizationMixFromName(flags.type));
  options.threads = flags.threads;
  FEDGLM_ASSIGN_OR_RETURN(const std::shared_ptr<const GgufFile> in, GgufFile::Open(flags.in));
  std::optional<MomentsByTensor> moments;
  if (!flags.calibration.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(moments, Calibrate(flags));
    options.moments = &*moments;
  }
  const Stopwatch stopwatch;
  Progress progress("quantize", static_cast<int64_t>(in->tensors().size()), flags.json);
  FEDGLM_ASSIGN_OR_RETURN(const QuantizeReport report,
                          QuantizeFile(*in, flags.out, options, [&](int64_t done, const std::string& name) {
                            progress.Update(done, name);
                            return StillWanted();
                          }));
  const double bits = BitsPerWeight(report.bytes, report.weights);
  if (flags.json) {
    Json tensors = Json::object();
    for (const auto& [type, count] : report.tensors) tensors[std::string(FactsOf(type).name)] = count;
    const Json result = {{"version", 1},
                         {"type", std::string(options.mix.name)},
                         {"bytes_in", in->file_bytes()},
                         {"bytes_out", report.bytes},
                         {"weights", report.weights},
                         {"bits_per_weight", bits},
                         {"tensors", tensors},
                         {"calibrated", moments.has_value()},
                         {"seconds", stopwatch.Seconds()}};
    std::printf("%s\n", DumpJson(result).c_str());
    return absl::OkStatus();
  }
  char summary[64];
  std::snprintf(summary, sizeof(summary), ", %.2f bits per weight", bits);
  progress.Finish(FormatByteSize(in->file_bytes()) + " to " + FormatByteSize(report.bytes) + summary);
  return absl::OkStatus();
}

std::string TypeNames() {
  std::string names;
  for (const std::string_view name : QuantizationMixNames()) names += (names.empty() ? "" : " ") + std::string(name);
  return names;
}

}  // namespace

void AddQuantize(CommandLine& line) {
  auto flags = std::make_shared<QuantizeFlags>();
  Command app = line.Add("quantize", "write a model in another block type", [flags] { return RunQuantize(*flags); });
  app.Add("in", flags->in, "GGUF file").Required();
  app.Add("out", flags->out, "the GGUF file to write").Required();
  app.Add("type", flags->type, "one of " + TypeNames()).Required();
  const CommandOption calibration =
      app.Add("--calibration", flags->calibration,
              "a text, or records (.jsonl), like what the model will read: less is lost on such");
  app.Add("--memory-budget", flags->memory_budget, "of calibration: at most so much memory, as 4GiB")
      .Needs(calibration);
  app.Add("-t,--threads", flags->threads).Between(0, 1024);
  app.AddFlag("--json", flags->json);
}

}  // namespace fedglm::cli
