// simulate-sites: what one more site costs the aggregator, from ten to ten thousand, each with its own connection and
// certificate.
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/command_line.h"
#include "base/configuration.h"
#include "base/json.h"
#include "base/process.h"
#include "bench/federation/simulated_federation.h"
#include "bench/federation/simulated_site.h"
#include "proto/grpc_log.h"

namespace fedglm::bench {
namespace {

struct Options {
  std::vector<int64_t> sites = {10, 100, 1000};
  int64_t rounds = 3, questions = 1000, update_values = 4096;
  bool json = false;
};

struct Figures {
  int64_t sites = 0;
  double connect_seconds = 0;
  double question_ms = 0, bare_question_ms = 0;  // of the server's CPU, for a question; of ours all other sites wait
  double round_seconds = 0, site_ms = 0;         // of a round; of the aggregator's CPU, for a site in a round
  double peak_rss_mib = 0, most_rss_mib = 0;     // the latter: 2 × adapter + 64 MiB
  double cpu_mb_per_second = 0, bare_cpu_mb_per_second = 0;  // 10^6 bytes moved in a second of the server's CPU
};

using Sites = std::vector<std::unique_ptr<SimulatedSite>>;

struct Run {
  SiteProgress progress;
  Sites sites;
};

// All but the last one wait for it, which asks again and again.
absl::StatusOr<double> QuestionMs(const Options& options, const ServerProcess& server, SimulatedSite& last) {
  FEDGLM_ASSIGN_OR_RETURN(const double before, server.CpuSeconds());
  for (int64_t i = 0; i < options.questions; ++i) {
    if (const grpc::Status status = last.AskOnce(/*records=*/0); !status.ok())
      return FailedError(status.error_message());
  }
  FEDGLM_ASSIGN_OR_RETURN(const double after, server.CpuSeconds());
  return (after - before) * 1000 / static_cast<double>(options.questions);
}

void Dial(const SimulatedFederation& federation, const ServerProcess& server, Run& run) {
  for (const SimulatedMember& member : federation.members()) {
    run.sites.push_back(std::make_unique<SimulatedSite>(federation, server.address(), member, run.progress));
  }
}

double MovedMb(const Options& options, const SimulatedFederation& federation) {
  const double each = static_cast<double>(federation.update().size() + federation.adapter_bytes()) / 1e6;
  return each * static_cast<double>(federation.members().size()) * static_cast<double>(options.rounds);
}

absl::Status MeasureAggregator(const Options& options, const SimulatedFederation& federation, Run& run, Figures& f) {
  FEDGLM_ASSIGN_OR_RETURN(const ServerProcess server, federation.StartAggregator());
  Dial(federation, server, run);
  const Sites& sites = run.sites;
  const Stopwatch connecting;
  for (size_t i = 0; i + 1 < sites.size(); ++i) sites[i]->Run();
  FEDGLM_RETURN_IF_ERROR(federation.AwaitPresent(server, f.sites - 1));
  if (const grpc::Status status = sites.back()->AskOnce(0); !status.ok()) return FailedError(status.error_message());
  f.connect_seconds = connecting.Seconds();
  FEDGLM_ASSIGN_OR_RETURN(f.question_ms, QuestionMs(options, server, *sites.back()));
  FEDGLM_ASSIGN_OR_RETURN(const double before, server.CpuSeconds());
  const Stopwatch running;
  sites.back()->Run();
  FEDGLM_RETURN_IF_ERROR(run.progress.AwaitFinished(f.sites));
  FEDGLM_ASSIGN_OR_RETURN(const double after, server.CpuSeconds());
  f.round_seconds = running.Seconds() / static_cast<double>(options.rounds);
  f.site_ms = (after - before) * 1000 / static_cast<double>(f.sites * options.rounds);
  f.cpu_mb_per_second = MovedMb(options, federation) / (after - before);
  FEDGLM_ASSIGN_OR_RETURN(const uint64_t peak, server.PeakRssBytes());
  f.peak_rss_mib = static_cast<double>(peak) / (1 << 20);
  f.most_rss_mib = 2 * static_cast<double>(federation.adapter_bytes()) / (1 << 20) + 64;
  return absl::OkStatus();
}

absl::Status MeasureBare(const Options& options, const SimulatedFederation& federation, Run& run, Figures& f) {
  FEDGLM_ASSIGN_OR_RETURN(const ServerProcess server, federation.StartBare());
  Dial(federation, server, run);
  if (const grpc::Status status = run.sites.back()->AskOnce(0); !status.ok())
    return FailedError(status.error_message());
  FEDGLM_ASSIGN_OR_RETURN(f.bare_question_ms, QuestionMs(options, server, *run.sites.back()));
  FEDGLM_ASSIGN_OR_RETURN(const double before, server.CpuSeconds());
  for (const auto& site : run.sites) site->Run();
  FEDGLM_RETURN_IF_ERROR(run.progress.AwaitFinished(f.sites));
  FEDGLM_ASSIGN_OR_RETURN(const double after, server.CpuSeconds());
  f.bare_cpu_mb_per_second = MovedMb(options, federation) / (after - before);
  return absl::OkStatus();
}

Json ToJson(const Figures& f) {
  return {{"sites", f.sites},
          {"connect_seconds", f.connect_seconds},
          {"question_cpu_ms", f.question_ms},
          {"bare_question_cpu_ms", f.bare_question_ms},
          {"round_seconds", f.round_seconds},
          {"site_round_cpu_ms", f.site_ms},
          {"peak_rss_mib", f.peak_rss_mib},
          {"most_rss_mib", f.most_rss_mib},
          {"mb_per_cpu_second", f.cpu_mb_per_second},
          {"bare_mb_per_cpu_second", f.bare_cpu_mb_per_second}};
}

void Print(const Figures& f) {
  std::printf("%8lld %10.1f %10.3f %8.3f %10.2f %12.3f %10.1f %10.1f %10.2f %10.1f %8.1f %8.2f\n",
              static_cast<long long>(f.sites), f.connect_seconds, f.question_ms, f.bare_question_ms, f.round_seconds,
              f.site_ms, f.peak_rss_mib, f.most_rss_mib, f.peak_rss_mib / f.most_rss_mib, f.cpu_mb_per_second,
              f.bare_cpu_mb_per_second, f.cpu_mb_per_second / f.bare_cpu_mb_per_second);
  std::fflush(stdout);
}

absl::Status MeasureAll(const Options& options) {
  SilenceGrpc();
  Json list = Json::array();
  // Kept to the end: the last callback of a site may still be returning when it has said that it is done.
  std::vector<std::unique_ptr<SimulatedFederation>> federations;
  std::vector<std::unique_ptr<Run>> runs;
  if (!options.json) {
    std::printf("CPU is the server's. Limit: of memory 2 × adapter + 64 MiB, else bare gRPC in this run.\n");
    std::printf("%8s %10s %10s %8s %10s %12s %10s %10s %10s %10s %8s %8s\n", "sites", "connect, s", "NextTask,ms",
                "limit", "a round, s", "site·round,ms", "RSS, MiB", "limit", "ratio", "MB/CPU s", "limit", "ratio");
  }
  for (const int64_t count : options.sites) {
    FederationShape shape;
    shape.sites = count;
    shape.rounds = options.rounds;
    shape.update_values = options.update_values;
    FEDGLM_ASSIGN_OR_RETURN(SimulatedFederation federation, SimulatedFederation::Found(shape));
    federations.push_back(std::make_unique<SimulatedFederation>(std::move(federation)));
    Figures figures;
    figures.sites = count;
    runs.push_back(std::make_unique<Run>());
    FEDGLM_RETURN_IF_ERROR(MeasureAggregator(options, *federations.back(), *runs.back(), figures));
    runs.push_back(std::make_unique<Run>());
    FEDGLM_RETURN_IF_ERROR(MeasureBare(options, *federations.back(), *runs.back(), figures));
    list.push_back(ToJson(figures));
    if (!options.json) Print(figures);
  }
  if (options.json) std::printf("%s\n", DumpJson(Json{{"version", 1}, {"runs", list}}).c_str());
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  return absl::OkStatus();
}

}  // namespace
}  // namespace fedglm::bench

int main(int argc, char** argv) {
  fedglm::HandleStopSignals();
  fedglm::bench::Options options;
  fedglm::CommandLine line("simulate-sites", "What one more site costs the aggregator");
  fedglm::Command app = line.root();
  app.Add("--sites", options.sites, "how many, one run each").Separated(',').ShowDefault().Between(2, 15000);
  app.Add("--rounds", options.rounds, "of each run").ShowDefault().Between(1, 1000);
  app.Add("--questions", options.questions, "asked while all others wait").ShowDefault().Between(1, 100000);
  app.Add("--update-values", options.update_values, "of a site's update, in float32")
      .ShowDefault()
      .Between(64, 1 << 24);
  app.AddFlag("--json", options.json);
  return line.Run(argc, argv, [&] { return fedglm::bench::MeasureAll(options); });
}
