// fedglm bench: how fast this machine runs a model, and in how much memory.
#include <algorithm>
#include <cstdio>

#include "base/clock.h"
#include "base/configuration.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/process.h"
#include "cli/command.h"
#include "cli/model_options.h"
#include "inference/kernels/kernels.h"

namespace fedglm::cli {
namespace {

struct BenchOptions {
  ModelOptions model;
  int64_t prompt_tokens = 128;
  int64_t answer_tokens = 16;
  int repetitions = 3;
  bool json = false;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

absl::Status RunBench(const BenchOptions& options) {
  const Stopwatch load;
  FEDGLM_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, OpenEngine(options.model));
  const double load_seconds = load.Seconds();
  std::vector<double> prefill, decode;
  for (int run = -1; run < options.repetitions; ++run) {  // the first one warms up and is not counted
    if (StopRequested()) return CancelledError("stopped");
    GenerationRequest request;
    // A different first token each time: no prefix is shared between two runs.
    for (int64_t i = 0; i < options.prompt_tokens; ++i) {
      request.prompt.push_back(static_cast<Token>((i * 7 + run + 1) % engine->hyperparameters().vocabulary));
    }
    request.max_tokens = options.answer_tokens;
    request.ignore_end = true;
    FEDGLM_ASSIGN_OR_RETURN(const GenerationResult result, engine->Generate(request, nullptr));
    if (run < 0) continue;
    prefill.push_back(static_cast<double>(result.prompt_tokens) / std::max(result.prefill_seconds, 1e-9));
    decode.push_back(static_cast<double>(result.tokens.size()) / std::max(result.decode_seconds, 1e-9));
  }
  const double prefill_tps = Median(prefill), decode_tps = Median(decode);
  if (options.json) {
    const Json result = {{"version", 1},
                         {"prefill_tps", prefill_tps},
                         {"decode_tps", decode_tps},
                         {"peak_rss_bytes", PeakRssBytes()},
                         {"load_seconds", load_seconds},
                         {"instruction_set", std::string(InstructionSet())}};
    std::printf("%s\n", DumpJson(result).c_str());
  } else {
    std::printf("prefill %8.1f tokens/s   (%lld tokens)\ndecode  %8.1f tokens/s   (%lld tokens)\n", prefill_tps,
                static_cast<long long>(options.prompt_tokens), decode_tps,
                static_cast<long long>(options.answer_tokens));
    std::printf("peak memory %s, loaded in %.2f s, kernels %s\n", FormatByteSize(PeakRssBytes()).c_str(), load_seconds,
                std::string(InstructionSet()).c_str());
  }
  return absl::OkStatus();
}

}  // namespace

void AddBench(CommandLine& line) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* app = line.Add("bench", "measure speed and memory (medians)", [options] { return RunBench(*options); });
  options->model.AddTo(app);
  app->add_option("-p,--prompt-tokens", options->prompt_tokens)->capture_default_str()->check(CLI::Range(1, 1 << 20));
  app->add_option("-n,--answer-tokens", options->answer_tokens)->capture_default_str()->check(CLI::Range(1, 1 << 20));
  app->add_option("-r,--repetitions", options->repetitions)->capture_default_str()->check(CLI::Range(1, 1000));
  app->add_flag("--json", options->json);
}

}  // namespace fedglm::cli
