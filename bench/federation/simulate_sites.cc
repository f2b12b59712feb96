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
  double question_ms = 0;                 // of the aggregator's CPU, for a question while all other sites wait
  double round_seconds = 0, site_ms = 0;  // of a round; of the aggregator's CPU, for a site in a round
  double peak_rss_mib = 0;
};

using Sites = std::vector<std::unique_ptr<SimulatedSite>>;

// All but the last one wait for it, which asks again and again.
absl::StatusOr<double> QuestionMs(const Options& options, SimulatedFederation& federation, SimulatedSite& last) {
  FEDGLM_ASSIGN_OR_RETURN(const double before, federation.CpuSeconds());
  for (int64_t i = 0; i < options.questions; ++i) {
    if (const grpc::Status status = last.AskOnce(/*records=*/0); !status.ok())
      return FailedError(status.error_message());
  }
  FEDGLM_ASSIGN_OR_RETURN(const double after, federation.CpuSeconds());
  return (after - before) * 1000 / static_cast<double>(options.questions);
}

struct Run {
  SiteProgress progress;
  Sites sites;
};

absl::StatusOr<Figures> Measure(const Options& options, int64_t count, Run& run) {
  FederationShape shape;
  shape.sites = count;
  shape.rounds = options.rounds;
  shape.update_values = options.update_values;
  FEDGLM_ASSIGN_OR_RETURN(SimulatedFederation federation, SimulatedFederation::Start(shape));
  SiteProgress& progress = run.progress;
  Sites& sites = run.sites;
  for (const SimulatedMember& member : federation.members()) {
    sites.push_back(std::make_unique<SimulatedSite>(federation, member, progress));
  }
  Figures figures;
  figures.sites = count;
  const Stopwatch connecting;
  for (int64_t i = 0; i + 1 < count; ++i) sites[i]->Run();
  FEDGLM_RETURN_IF_ERROR(federation.AwaitPresent(count - 1));
  if (const grpc::Status status = sites.back()->AskOnce(0); !status.ok()) return FailedError(status.error_message());
  figures.connect_seconds = connecting.Seconds();
  FEDGLM_ASSIGN_OR_RETURN(figures.question_ms, QuestionMs(options, federation, *sites.back()));
  FEDGLM_ASSIGN_OR_RETURN(const double before, federation.CpuSeconds());
  const Stopwatch running;
  sites.back()->Run();
  FEDGLM_RETURN_IF_ERROR(progress.AwaitFinished(count));
  FEDGLM_ASSIGN_OR_RETURN(const double after, federation.CpuSeconds());
  figures.round_seconds = running.Seconds() / static_cast<double>(options.rounds);
  figures.site_ms = (after - before) * 1000 / static_cast<double>(count * options.rounds);
  FEDGLM_ASSIGN_OR_RETURN(const uint64_t peak, federation.PeakRssBytes());
  figures.peak_rss_mib = static_cast<double>(peak) / (1 << 20);
  return figures;
}

absl::Status MeasureAll(const Options& options) {
  SilenceGrpc();
  Json list = Json::array();
  // Kept to the end: the last callback of a site may still be returning when it has said that it is done.
  std::vector<std::unique_ptr<Run>> runs;
  if (!options.json) {
    std::printf("%8s %12s %20s %16s %26s %14s\n", "sites", "connect, s", "question, ms of CPU", "a round, s",
                "site in a round, ms of CPU", "peak RSS, MiB");
  }
  for (const int64_t count : options.sites) {
    runs.push_back(std::make_unique<Run>());
    FEDGLM_ASSIGN_OR_RETURN(const Figures f, Measure(options, count, *runs.back()));
    if (options.json) {
      list.push_back({{"sites", f.sites},
                      {"connect_seconds", f.connect_seconds},
                      {"question_cpu_ms", f.question_ms},
                      {"round_seconds", f.round_seconds},
                      {"site_round_cpu_ms", f.site_ms},
                      {"peak_rss_mib", f.peak_rss_mib}});
      continue;
    }
    std::printf("%8lld %12.1f %20.3f %16.2f %26.3f %14.1f\n", static_cast<long long>(f.sites), f.connect_seconds,
                f.question_ms, f.round_seconds, f.site_ms, f.peak_rss_mib);
    std::fflush(stdout);
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
