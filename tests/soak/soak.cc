// soak: mixed load on a real server at its memory limit, for an hour or for two minutes. Nothing may crash, leak, be
// answered wrongly, or be refused late.
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>

#include "base/configuration.h"
#include "base/file.h"
#include "base/json.h"
#include "base/process.h"
#include "bench/machine_load.h"
#include "bench/measurement_program.h"
#include "bench/page_cache.h"
#include "bench/random_model.h"
#include "tests/soak/adapter_swapper.h"
#include "tests/soak/http_client.h"
#include "tests/soak/load.h"
#include "tests/soak/memory_hog.h"
#include "tests/soak/server_process.h"
#include "tests/soak/soak_report.h"

namespace fedglm::soak {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr int64_t kContext = 1024;
constexpr const char* kShape = "smollm2-135m";
constexpr double kWarmUpPart = 0.25, kMostWarmUpMinutes = 10;
constexpr double kCheckpointPart = 1.0 / 6, kLeastCheckpointMinutes = 2;
constexpr double kLastHogMinutes = 0.5;  // before the end, where the last checkpoint waits until all is calm
constexpr double kSwapSeconds = 2;
constexpr milliseconds kTick{250}, kHogTaking{4000}, kHogKeeping{2000}, kPoll{2000}, kSettle{12'000},
    kFillLimit{60'000};
constexpr int kFillPrompts = 16;      // more positions together than the engine keeps
constexpr double kRestPrompt = 60;    // tokens
constexpr double kCalmSeconds = 150;  // the longest until all layers are back after memory was taken
constexpr double kPinnedPart = 0.75, kHogLeft = 0.02;
constexpr double kHogSeconds = 15;  // the longest that it takes what the server gives back
constexpr int kHogAttempts = 4;

struct SoakOptions {
  fs::path model, svg, server_log;
  std::string memory_budget;
  double minutes = 60;
  double hog_minutes = 5;  // from one time that memory is taken to the next
  int streams = 32;
  uint64_t seed = 1;
  bool json = false;
};

constexpr int kSkipped = 77;  // CTest's

// FEDGLM_MODEL_SMOLLM2 if it is set. Empty: random weights of its shape. The demo's base is so small that its memory
// would be lost in that of the requests.
fs::path DefaultModel() {
  const char* const real = std::getenv("FEDGLM_MODEL_SMOLLM2");
  return real != nullptr ? real : "";
}

// A file that nobody has read yet: its pages are charged to the server's control group, not to an earlier reader.
absl::Status PutModel(const fs::path& source, const fs::path& path) {
  if (source.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(const Hyperparameters shape, bench::ShapeOf(kShape));
    const auto silently = [](auto&&...) { return absl::OkStatus(); };
    return bench::WriteRandomModel({shape, BlockType::kQ4_1, BlockType::kQ4_1}, path, silently).status();
  }
  std::error_code error;
  fs::copy_file(source, path, error);
  return error ? ErrnoError(source.string(), error.value()) : absl::OkStatus();
}

// So little that with these adapters (flags of serve) a quarter of the weights is streamed, and that all requests
// together have pages for one context.
absl::StatusOr<uint64_t> TightBudget(const fs::path& program, const fs::path& model,
                                     const std::vector<std::string>& adapters) {
  SpawnOptions spawn;
  spawn.arguments = {program,
                     "serve",
                     "-m",
                     model,
                     "--context",
                     std::to_string(kContext),
                     "--memory-budget",
                     "1TiB",
                     "--explain-memory",
                     "--json"};
  spawn.arguments.insert(spawn.arguments.end(), adapters.begin(), adapters.end());
  spawn.pipe_stdout = true;
  FEDGLM_ASSIGN_OR_RETURN(Process process, Process::Spawn(spawn));
  FEDGLM_ASSIGN_OR_RETURN(const std::optional<std::string> line, process.ReadLine());
  if (process.Wait() != 0 || !line) return FailedError(program.string() + " does not explain its memory");
  FEDGLM_ASSIGN_OR_RETURN(const Json plan, ParseJson(*line, "plan"));
  const Json accounts = plan.value("accounts", Json::object());
  const auto bytes = [&](const char* account) { return static_cast<double>(accounts.value(account, int64_t{0})); };
  const double positions = static_cast<double>(std::max(plan.value("kv_positions", int64_t{0}), kContext));
  return static_cast<uint64_t>(kPinnedPart * bytes("pinned_weights_bytes") + bytes("activations_bytes") +
                               bytes("scratch_bytes") + bytes("adapters_bytes") +
                               bytes("kv_pages_bytes") * kContext / positions);
}

// On a connection of its own.
absl::StatusOr<HttpAnswer> Post(int port, const std::string& path, const Json& json, milliseconds limit) {
  FEDGLM_ASSIGN_OR_RETURN(HttpConnection connection, HttpConnection::Open(port));
  const std::string body = DumpJson(json);
  FEDGLM_RETURN_IF_ERROR(connection.Send("POST " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" +
                                         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body));
  return connection.Receive(limit);
}

// The load has to know how long words are in tokens.
absl::StatusOr<double> TokensPerWord(int port) {
  constexpr int64_t kWords = 200;
  std::mt19937_64 random(1);
  FEDGLM_ASSIGN_OR_RETURN(const HttpAnswer answer,
                          Post(port, "/tokenize", {{"content", FillerText(kWords, random)}}, milliseconds(10'000)));
  FEDGLM_ASSIGN_OR_RETURN(const Json json, ParseJson(answer.body, "/tokenize"));
  FEDGLM_ASSIGN_OR_RETURN(const int64_t count, RequireInteger(json, "count"));
  return static_cast<double>(count) / kWords;
}

class Soak {
 public:
  Soak(const SoakOptions& options, ServerProcess server, AdapterSwapper swapper)
      : options_(options), server_(std::move(server)), swapper_(std::move(swapper)) {
    report_.minutes = options.minutes;
    report_.streams = options.streams;
    report_.seed = options.seed;
    report_.group_limit = server_.group_limit();
    report_.why_no_group = server_.why_no_group();
  }

  absl::StatusOr<SoakReport> Run() {
    ServedModel served = {kContext, 1, AdapterSwapper::Names()};
    served.models.insert(served.models.end(), {"", "base"});  // "": the server's own, with its adapter
    FEDGLM_ASSIGN_OR_RETURN(served.tokens_per_word, TokensPerWord(server_.port()));
    tokens_per_word_ = served.tokens_per_word;
    FEDGLM_ASSIGN_OR_RETURN(pinned_, server_.Metric(kPinnedMetric));
    const bench::MachineLoad machine;
    const absl::Status status = UnderLoad(std::move(served));
    report_.server_alive = server_.Running();
    if (!report_.server_alive) {
      std::fprintf(stderr, "the server has ended:\n%s\n", server_.EndOfLog().c_str());
      return report_;
    }
    FEDGLM_RETURN_IF_ERROR(status);
    FEDGLM_ASSIGN_OR_RETURN(report_.generated_tokens, server_.Metric("fedglm_generated_tokens_total"));
    FEDGLM_ASSIGN_OR_RETURN(report_.cancelled, server_.Metric("fedglm_cancelled_total"));
    report_.adapter_swaps = swapper_.swaps();
    report_.exit_status = server_.Stop();
    report_.others_share = machine.OthersShare();  // now that the server counts as a child
    return std::move(report_);
  }

 private:
  static constexpr const char* kPinnedMetric = "fedglm_memory_bytes{account=\"pinned weights\"}";

  double Minutes() const { return clock_.Seconds() / 60; }

  absl::Status UnderLoad(ServedModel served) {
    Load load({server_.port(), options_.streams, options_.seed, std::move(served)});
    const double warm_up = std::min(options_.minutes * kWarmUpPart, kMostWarmUpMinutes);
    const double apart = std::max(options_.minutes * kCheckpointPart, kLeastCheckpointMinutes);
    double next_checkpoint = warm_up, next_hog = warm_up + 0.1;
    const double last_hog = report_.group_limit > 0 ? options_.minutes - kLastHogMinutes : 0;
    absl::Status status;
    while (status.ok() && Minutes() < options_.minutes) {
      status = Tick();
      if (status.ok()) status = SwapWhenItIsTime();
      if (status.ok() && Minutes() >= next_checkpoint) {
        status = TakeCheckpoint(load);
        next_checkpoint += apart;
      }
      if (status.ok() && Minutes() >= next_hog && Minutes() < last_hog) {
        status = TakeMemoryMeanwhile();
        next_hog += options_.hog_minutes;
      }
    }
    if (status.ok()) status = TakeCheckpoint(load);
    report_.load = load.Results();
    return status;
  }

  // A quarter of a second, and a sample.
  absl::Status Tick() {
    std::this_thread::sleep_for(kTick);
    if (StopRequested()) return CancelledError("stopped");
    FEDGLM_ASSIGN_OR_RETURN(LogNews news, server_.ReadLog());
    auto& seconds = report_.server_refusal_seconds;
    seconds.insert(seconds.end(), news.refusal_seconds.begin(), news.refusal_seconds.end());
    for (const auto& [reason, count] : news.refusals) report_.refusals[reason] += count;
    std::ranges::move(news.errors, std::back_inserter(report_.server_errors));
    FEDGLM_ASSIGN_OR_RETURN(const ProcessState state, server_.State());
    report_.samples.push_back({Minutes(), state, news.highest_pressure});
    return absl::OkStatus();
  }

  absl::Status SwapWhenItIsTime() {
    if (since_swap_.Seconds() < kSwapSeconds) return absl::OkStatus();
    since_swap_ = Stopwatch();
    FEDGLM_RETURN_IF_ERROR(swapper_.Swap());
    server_.Signal(SIGUSR1);
    return absl::OkStatus();
  }

  // How many keys and values are kept for who comes back is chance, up to a tenth of the memory; so as many as there
  // may be.
  absl::Status FillCache() {
    std::mt19937_64 random(1);
    const auto words = [&](double tokens) { return static_cast<int64_t>(tokens / tokens_per_word_); };
    for (int i = 0; i < kFillPrompts; ++i) {
      // Long ones put out what was there; short ones fill the rest.
      const int64_t length = words(i < kFillPrompts / 2 ? kLongPrompt * kContext : kRestPrompt);
      const Json body = {{"model", "base"}, {"prompt", FillerText(length, random)}, {"max_tokens", 1}};
      FEDGLM_ASSIGN_OR_RETURN(const HttpAnswer answer, Post(server_.port(), "/v1/completions", body, kFillLimit));
      if (answer.status != 200) return FailedError("a prompt without load is answered with " + answer.body);
    }
    return absl::OkStatus();
  }

  absl::Status TickFor(milliseconds time) {
    const Stopwatch clock;
    while (clock.Seconds() < std::chrono::duration<double>(time).count()) FEDGLM_RETURN_IF_ERROR(Tick());
    return absl::OkStatus();
  }

  // Memory under load is what the requests of that moment need. A leak is what is left when there are none, the layers
  // that gave way to another program are back, and the cache is full.
  absl::Status TakeCheckpoint(Load& load) {
    load.Pause();
    const Stopwatch clock;
    bool calm = false;
    while (!calm && clock.Seconds() < kCalmSeconds) {
      FEDGLM_RETURN_IF_ERROR(TickFor(kPoll));
      FEDGLM_ASSIGN_OR_RETURN(const double pinned, server_.Metric(kPinnedMetric));
      calm = report_.samples.back().pressure == 0 && pinned == pinned_;
    }
    if (!calm) return FailedError("the weights are not all back in memory");
    FEDGLM_RETURN_IF_ERROR(FillCache());
    FEDGLM_RETURN_IF_ERROR(TickFor(kSettle));  // connections' threads stay for ten seconds
    FEDGLM_ASSIGN_OR_RETURN(const ProcessState state, server_.State());
    FEDGLM_ASSIGN_OR_RETURN(auto accounts, server_.Accounts());
    report_.checkpoints.push_back(Checkpoint{Minutes(), state, std::move(accounts)});
    load.Resume();
    return absl::OkStatus();
  }

  // Another program takes memory until the server gives up layers. The kernel may end it first: then it comes again.
  absl::Status TakeMemoryMeanwhile() {
    ++report_.hogs;
    for (int attempt = 0; attempt < kHogAttempts; ++attempt) {
      FEDGLM_ASSIGN_OR_RETURN(
          MemoryHog hog, MemoryHog::Start({server_.group(), report_.group_limit, kHogLeft, kHogTaking, kHogKeeping}));
      const Stopwatch clock;
      bool felt = false;
      while (!hog.Ended()) {
        FEDGLM_RETURN_IF_ERROR(Tick());
        felt = felt || report_.samples.back().pressure >= kUnpinningLevel;
        if (felt || clock.Seconds() > kHogSeconds) hog.Enough();
      }
      FEDGLM_ASSIGN_OR_RETURN(const MemoryHog::End end, hog.Outcome());
      report_.hogs_killed += end == MemoryHog::End::kKilled ? 1 : 0;
      if (felt) break;
    }
    return absl::OkStatus();
  }

  const SoakOptions options_;
  ServerProcess server_;
  AdapterSwapper swapper_;
  const Stopwatch clock_;
  Stopwatch since_swap_;
  double tokens_per_word_ = 1;
  double pinned_ = 0;  // bytes of weights in memory when nothing presses
  SoakReport report_;
};

// `limited`: whether the server had a control group.
absl::Status Run(SoakOptions options, bool& limited) {
  if (options.model.empty()) options.model = DefaultModel();
  const fs::path program = ExecutableDirectory() / "fedglm";
  FEDGLM_ASSIGN_OR_RETURN(const TemporaryDirectory folder, TemporaryDirectory::Make("soak"));
  const fs::path model = folder.path() / "model.gguf";
  FEDGLM_RETURN_IF_ERROR(PutModel(options.model, model));
  ServerOptions serve = {program, model, folder.path(), 0, kContext, {}};
  FEDGLM_ASSIGN_OR_RETURN(AdapterSwapper swapper, AdapterSwapper::Make(model, folder.path(), options.seed));
  serve.arguments = swapper.Arguments();
  if (options.memory_budget.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(serve.memory_budget, TightBudget(program, model, serve.arguments));
  } else {
    FEDGLM_ASSIGN_OR_RETURN(serve.memory_budget, ParseByteSize(options.memory_budget));
  }
  FEDGLM_RETURN_IF_ERROR(bench::DropFromPageCache(model));
  FEDGLM_ASSIGN_OR_RETURN(ServerProcess server, ServerProcess::Start(serve));
  absl::StatusOr<SoakReport> ran = Soak(options, std::move(server), std::move(swapper)).Run();
  if (!options.server_log.empty()) {
    std::error_code error;
    fs::copy_file(folder.path() / "server.log", options.server_log, fs::copy_options::overwrite_existing, error);
    if (error) return ErrnoError(options.server_log.string(), error.value());
  }
  FEDGLM_ASSIGN_OR_RETURN(SoakReport report, std::move(ran));
  report.model =
      options.model.empty() ? std::string("random weights like ") + kShape : options.model.filename().string();
  report.memory_budget = serve.memory_budget;
  limited = report.group_limit > 0;
  const std::vector<Verdict> verdicts = Judge(report);
  std::fprintf(options.json ? stderr : stdout, "%s", ReportText(report, verdicts).c_str());
  if (options.json) std::printf("%s\n", DumpJson(ReportJson(report, verdicts)).c_str());
  if (!options.svg.empty()) FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(options.svg, ReportSvg(report)));
  const bool good = std::ranges::all_of(verdicts, &Verdict::holds);
  return good ? absl::OkStatus() : FailedError("the server has not stood it");
}

}  // namespace
}  // namespace fedglm::soak

int main(int argc, char** argv) {
  using namespace fedglm;
  HandleStopSignals();
  soak::SoakOptions options;
  CommandLine line("soak", "Mixed load on a real server at its memory limit");
  Command app = line.root();
  app.Add("--minutes", options.minutes, "of load").ShowDefault().NumberBetween(2, 10'000);
  app.Add("--hog-minutes", options.hog_minutes, "between two times that another program takes memory")
      .ShowDefault()
      .NumberBetween(0.1, 1000);
  app.Add("-m,--model", options.model, "GGUF file (default: $FEDGLM_MODEL_SMOLLM2, else random weights of its shape)");
  app.Add("--memory-budget", options.memory_budget, "the server's (default: too little for all weights)");
  app.Add("--streams", options.streams, "clients at once").ShowDefault().Between(1, 200);
  app.Add("--seed", options.seed).ShowDefault();
  app.Add("--svg", options.svg, "write a plot of the memory to this file");
  app.Add("--server-log", options.server_log, "keep what the server says in this file");
  app.AddFlag("--json", options.json);
  bool limited = true;
  const int code = line.Run(argc, argv, [&] { return soak::Run(options, limited); });
  return code == 0 && !limited ? soak::kSkipped : code;  // nobody has taken memory: that is not the soak
}
