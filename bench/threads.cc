// threads: how the time for a token and for the first token falls with the number of threads, and where more do no
// good.
#include <cstdio>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "base/cpu.h"
#include "base/file.h"
#include "base/process.h"
#include "bench/claim.h"
#include "bench/generation_speed.h"
#include "bench/statistics.h"
#include "bench/svg_plot.h"
#include "inference/engine/engine.h"

namespace fedglm::bench {
namespace {

struct ThreadsOptions {
  std::string model, svg;
  std::vector<int> threads = {1, 2, 4, 8};
  int64_t prompt_tokens = 128, answer_tokens = 16;
  int repetitions = 3;
  bool json = false;
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

void PrintTable(const std::vector<Latencies>& all, int64_t prompt_tokens) {
  std::printf("%d physical cores may be used\n%-8s %14s %10s %18s %10s\n", UsablePhysicalCores(), "threads",
              "ms per token", "speed-up", "ms to first token", "speed-up");
  for (const Latencies& l : all) {
    const double token = Median(l.token_ms), first = Median(l.first_token_ms);
    std::printf("%-8d %14.2f %10.2f %18.1f %10.2f%s\n", l.threads, token, Median(all.front().token_ms) / token, first,
                Median(all.front().first_token_ms) / first,
                l.threads > UsablePhysicalCores() ? "   more than cores" : "");
  }
  std::printf("the first token after a prompt of %lld\n", static_cast<long long>(prompt_tokens));
}

absl::Status Plot(const std::vector<Latencies>& all, const std::string& path) {
  const int cores = UsablePhysicalCores();
  const LinePanel::Mark mark{static_cast<double>(cores), std::to_string(cores) + (cores == 1 ? " core" : " cores")};
  LinePanel token{"Time for a token", "threads", "ms", {{"decode", {}}}, true, mark};
  LinePanel first{"Time to the first token", "threads", "ms", {{"prefill", {}}}, true, mark};
  for (const Latencies& l : all) {
    token.series[0].points.push_back({static_cast<double>(l.threads), Median(l.token_ms)});
    first.series[0].points.push_back({static_cast<double>(l.threads), Median(l.first_token_ms)});
  }
  return WriteFileAtomically(path, SvgDocument({token, first}));
}

absl::Status Run(const ThreadsOptions& options) {
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<Latencies> all, Measure(options));
  if (options.json) {
    std::printf("%s\n", DumpJson(ClaimsAsJson(Claims(all))).c_str());
  } else {
    PrintTable(all, options.prompt_tokens);
  }
  return options.svg.empty() ? absl::OkStatus() : Plot(all, options.svg);
}

}  // namespace
}  // namespace fedglm::bench

int main(int argc, char** argv) {
  using namespace fedglm;
  HandleStopSignals();
  bench::ThreadsOptions options;
  CLI::App app("Latency against the number of threads", "threads");
  app.add_option("-m,--model", options.model, "GGUF file")->required();
  app.add_option("-t,--threads", options.threads, "ascending")
      ->delimiter(',')->capture_default_str()->check(CLI::Range(1, 1024));
  app.add_option("-p,--prompt-tokens", options.prompt_tokens)->capture_default_str()->check(CLI::Range(1, 1 << 20));
  app.add_option("-n,--answer-tokens", options.answer_tokens)->capture_default_str()->check(CLI::Range(2, 1 << 20));
  app.add_option("-r,--repetitions", options.repetitions)->capture_default_str()->check(CLI::Range(1, 1000));
  app.add_option("--svg", options.svg, "write a plot to this file");
  app.add_flag("--json", options.json);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::kUsage);
  }
  const absl::Status status = bench::Run(options);
  if (!status.ok()) std::fprintf(stderr, "threads: %s\n", Message(status).c_str());
  return static_cast<int>(ExitCodeOf(status));
}
