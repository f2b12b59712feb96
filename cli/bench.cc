// fedglm bench: how fast this machine runs a model, and in how much memory.
#include <algorithm>
#include <cstdio>
#include <thread>

#include "base/clock.h"
#include "base/configuration.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/process.h"
#include "cli/command.h"
#include "cli/explain_memory.h"
#include "cli/model_options.h"
#include "inference/kernels/instruction_sets.h"

namespace fedglm::cli {
namespace {

struct BenchOptions {
  ModelOptions model;
  int64_t prompt_tokens = 128;
  int64_t answer_tokens = 16;
  int repetitions = 3;
  int streams = 1;
  bool json = false;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

// Different for each run and stream: no prefix is shared between two of them.
GenerationRequest MakeRequest(const Engine& engine, const BenchOptions& options, int64_t which) {
  GenerationRequest request;
  for (int64_t i = 0; i < options.prompt_tokens; ++i) {
    request.prompt.push_back(static_cast<Token>((i * 7 + which) % engine.hyperparameters().vocabulary));
  }
  request.max_tokens = options.answer_tokens;
  request.ignore_end = true;
  request.still_wanted = [] { return !StopRequested(); };
  return request;
}

struct AnswerSpeed {
  double prefill_tps = 0, decode_tps = 0, first_token_seconds = 0;
};

absl::StatusOr<AnswerSpeed> MeasureAnswer(Engine& engine, const GenerationRequest& request) {
  const Stopwatch clock;
  AnswerSpeed speed;
  FEDGLM_ASSIGN_OR_RETURN(const GenerationResult result, engine.Generate(request, [&](const GeneratedToken&) {
    if (speed.first_token_seconds == 0) speed.first_token_seconds = clock.Seconds();
    return !StopRequested();
  }));
  if (StopRequested()) return CancelledError("stopped");
  speed.prefill_tps = static_cast<double>(result.prompt_tokens) / std::max(result.prefill_seconds, 1e-9);
  // The first token is the prompt's.
  speed.decode_tps = static_cast<double>(result.tokens.size() - 1) / std::max(result.decode_seconds, 1e-9);
  return speed;
}

// Runs all requests together. Each must write `max_tokens`.
absl::Status RunTogether(Engine& engine, const std::vector<GenerationRequest>& requests) {
  std::vector<absl::Status> statuses(requests.size());
  std::vector<std::jthread> threads;  // joined also if the next cannot be started
  for (size_t i = 0; i < requests.size(); ++i) {
    threads.emplace_back([&, i] {
      const auto result = engine.Generate(requests[i], nullptr);
      statuses[i] = result.status();
      if (result.ok() && static_cast<int64_t>(result->tokens.size()) != requests[i].max_tokens) {
        statuses[i] =
            StopRequested() ? CancelledError("stopped") : FailedError("an answer ended early: too little memory?");
      }
    });
  }
  for (std::jthread& thread : threads) thread.join();
  for (const absl::Status& status : statuses) FEDGLM_RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

// Tokens a second of all streams together while they write. The prompts are read before: their last token is computed
// again, so that every token counted is one row of one forward pass.
absl::StatusOr<double> MeasureStreams(Engine& engine, const BenchOptions& options, int64_t which) {
  std::vector<GenerationRequest> requests;
  for (int stream = 0; stream < options.streams; ++stream) {
    requests.push_back(MakeRequest(engine, options, which + stream));
    GenerationRequest prompt = requests.back();
    prompt.max_tokens = 1;
    FEDGLM_RETURN_IF_ERROR(engine.Generate(prompt, nullptr).status());
  }
  const Stopwatch clock;
  FEDGLM_RETURN_IF_ERROR(RunTogether(engine, requests));
  return static_cast<double>(options.streams * options.answer_tokens) / clock.Seconds();
}

absl::Status RunBench(BenchOptions options) {
  options.model.max_running = options.streams;
  if (options.model.explain_memory) return ExplainMemory(options.model, options.json);
  const Stopwatch load;
  FEDGLM_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, OpenEngine(options.model));
  const double load_seconds = load.Seconds();
  std::vector<double> prefill, decode, first_token, batch;
  for (int run = -1; run < options.repetitions; ++run) {  // the first one warms up and is not counted
    FEDGLM_ASSIGN_OR_RETURN(const AnswerSpeed speed, MeasureAnswer(*engine, MakeRequest(*engine, options, run + 1)));
    if (run < 0) continue;
    prefill.push_back(speed.prefill_tps);
    decode.push_back(speed.decode_tps);
    first_token.push_back(speed.first_token_seconds);
    if (options.streams == 1) continue;
    FEDGLM_ASSIGN_OR_RETURN(const double tps, MeasureStreams(*engine, options, 1000 + run * options.streams));
    batch.push_back(tps);
  }
  const double prefill_tps = Median(prefill), decode_tps = Median(decode), first_token_seconds = Median(first_token);
  const double batch_tps = options.streams == 1 ? decode_tps : Median(batch);
  if (options.json) {
    const Json result = {{"version", 1},
                         {"prefill_tps", prefill_tps},
                         {"decode_tps", decode_tps},
                         {"batch_tps", batch_tps},
                         {"streams", options.streams},
                         {"first_token_seconds", first_token_seconds},
                         {"peak_rss_bytes", PeakRssBytes()},
                         {"load_seconds", load_seconds},
                         {"instruction_set", std::string(InstructionSet())}};
    std::printf("%s\n", DumpJson(result).c_str());
  } else {
    std::printf("prefill %8.1f tokens/s   (%lld tokens, the first token after %.3f s)\n", prefill_tps,
                static_cast<long long>(options.prompt_tokens), first_token_seconds);
    std::printf("decode  %8.1f tokens/s   (%lld tokens)\n", decode_tps, static_cast<long long>(options.answer_tokens));
    if (options.streams > 1)
      std::printf("batch   %8.1f tokens/s   (%d answers together)\n", batch_tps, options.streams);
    std::printf("peak memory %s, loaded in %.2f s, kernels %s\n", FormatByteSize(PeakRssBytes()).c_str(), load_seconds,
                std::string(InstructionSet()).c_str());
  }
  return absl::OkStatus();
}

}  // namespace

void AddBench(CommandLine& line) {
  auto options = std::make_shared<BenchOptions>();
  Command app = line.Add("bench", "measure speed and memory (medians)", [options] { return RunBench(*options); });
  options->model.AddTo(app);
  options->model.AddAutotuneTo(app);
  app.Add("-p,--prompt-tokens", options->prompt_tokens).ShowDefault().Between(1, 1 << 20);
  app.Add("-n,--answer-tokens", options->answer_tokens, "the first is the prompt's: 1 measures no decode")
      .ShowDefault()
      .Between(1, 1 << 20);
  app.Add("-r,--repetitions", options->repetitions).ShowDefault().Between(1, 1000);
  app.Add("--streams", options->streams, "answers written together, for batch_tps").ShowDefault().Between(1, 64);
  app.AddFlag("--json", options->json);
  options->model.AddExplainTo(app);
}

}  // namespace fedglm::cli
