// threads: how the time for a token and for the first token falls with the number of threads, and where more do no
// good.
#include <cstdio>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "base/process.h"
#include "bench/generation_speed.h"
#include "bench/measurement_program.h"
#include "bench/statistics.h"
#include "inference/engine/engine.h"

namespace fedglm::bench {
namespace {

struct ThreadsOptions : MeasurementOptions {
  std::vector<int> threads = {1, 2, 4, 8};
};

struct Latencies {
  int threads = 1;
  std::vector<double> token_ms, first_token_ms;
};

absl::StatusOr<std::vector<Latencies>> Measure(const ThreadsOptions& options) {
  std::vector<Latencies> all;
  for (const int threads : options.threads) all.push_back({threads, {}, {}});
  for (int run = -1; run < options.repetitions; ++run) {  // the first round warms up and is not counted
    for (Latencies& latencies : all) {
      if (StopRequested()) return CancelledError("stopped");
      EngineOptions engine_options;
      engine_options.threads = latencies.threads;
      engine_options.context = options.prompt_tokens + options.answer_tokens;
      engine_options.require_tokenizer = false;
      FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::Open(options.model, engine_options));
      FEDGLM_ASSIGN_OR_RETURN(const GenerationSpeed speed,
                              MeasureGeneration(*engine, options.prompt_tokens, options.answer_tokens, run + 1));
      if (run < 0) continue;
      latencies.token_ms.push_back(1000.0 / speed.decode_tps);
      latencies.first_token_ms.push_back(1000.0 * speed.first_token_seconds);
    }
  }
  return all;
}

std::vector<Claim> Claims(const std::vector<Latencies>& all) {
  std::vector<Claim> claims;
  const auto add = [&](const std::string& name, double ours, double peer) {
    claims.push_back({name, ours, peer, std::nullopt, ours / peer, "ms", 0, false});
  };
  for (const Latencies& l : all) {
    const std::string threads = std::to_string(l.threads);
    add("token_latency_" + threads, Median(l.token_ms), Median(all.front().token_ms));
    add("first_token_latency_" + threads, Median(l.first_token_ms), Median(all.front().first_token_ms));
  }
  return claims;
}

std::string Table(const std::vector<Latencies>& all, int64_t prompt_tokens) {
  char line[160];
  std::snprintf(line, sizeof(line), "%d physical cores may be used\n%-8s %14s %10s %18s %10s\n", UsablePhysicalCores(),
                "threads", "ms per token", "speed-up", "ms to first token", "speed-up");
  std::string table = line;
  for (const Latencies& l : all) {
    const double token = Median(l.token_ms), first = Median(l.first_token_ms);
    std::snprintf(line, sizeof(line), "%-8d %14.2f %10.2f %18.1f %10.2f%s\n", l.threads, token,
                  Median(all.front().token_ms) / token, first, Median(all.front().first_token_ms) / first,
                  l.threads > UsablePhysicalCores() ? "   more than cores" : "");
    table += line;
  }
  return table + "the first token after a prompt of " + std::to_string(prompt_tokens) + "\n";
}

std::vector<Panel> Plot(const std::vector<Latencies>& all, int64_t prompt_tokens) {
  const int cores = UsablePhysicalCores();
  const LinePanel::Mark mark{static_cast<double>(cores), std::to_string(cores) + (cores == 1 ? " core" : " cores")};
  LinePanel token{"Time for a token", "threads", "ms", {{"decode", {}}}, true, mark};
  const std::string prompt = " after a prompt of " + std::to_string(prompt_tokens);
  LinePanel first{"Time to the first token" + prompt, "threads", "ms", {{"prefill", {}}}, true, mark};
  for (const Latencies& l : all) {
    token.series[0].points.push_back({static_cast<double>(l.threads), Median(l.token_ms)});
    first.series[0].points.push_back({static_cast<double>(l.threads), Median(l.first_token_ms)});
  }
  return {token, first};
}

absl::Status Run(const ThreadsOptions& options) {
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<Latencies> all, Measure(options));
  return Report(options, Claims(all), Table(all, options.prompt_tokens), Plot(all, options.prompt_tokens));
}

}  // namespace
}  // namespace fedglm::bench

int main(int argc, char** argv) {
  fedglm::HandleStopSignals();
  fedglm::bench::ThreadsOptions options;
  fedglm::CommandLine line("bench-threads", "Latency against the number of threads");
  fedglm::Command app = line.root();
  options.AddTo(app, "GGUF file");
  app.Add("-t,--threads", options.threads, "ascending").Separated(',').ShowDefault().Between(1, 1024);
  return line.Run(argc, argv, [&] { return fedglm::bench::Run(options); });
}
