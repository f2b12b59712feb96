// compare-llamacpp: fedglm against llama.cpp on one machine in one run. Each measurement is a process of its own; the
// two sides alternate, and the one that begins changes every round, so that what else the machine does falls on both.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/configuration.h"
#include "base/file.h"
#include "base/json.h"
#include "base/process.h"
#include "base/progress.h"
#include "bench/claim.h"
#include "bench/engine_run.h"
#include "bench/machine_load.h"
#include "bench/measurement_program.h"
#include "bench/memory_group.h"
#include "bench/page_cache.h"
#include "bench/random_model.h"
#include "bench/statistics.h"
#include "inference/memory/bandwidth.h"

namespace fedglm::bench {
namespace {

namespace fs = std::filesystem;

constexpr int kStreams = 8;
constexpr int kFirstPrompt = 16;  // tokens before the first one of the answer
constexpr int kBandwidthPasses = 3;
constexpr int kCappedRounds = 3;  // at most: each streams the model from the disk many times
constexpr double kResidentTolerance = 0.05;
constexpr double kBusyMachine = 0.05;  // others' share of the processors from which on the figures are doubtful

struct CompareOptions {
  fs::path model, small, fedglm, driver, svg;
  std::vector<std::string> claims;
  int threads = 2, repetitions = 5;
  std::string memory_limit = "4GiB";
  bool json = false;
};

// What is run on both sides; several claims can be read off one experiment.
enum class Experiment { kNormal, kLongPrompt, kFirstToken, kSmall, kStreams, kCapped };

struct ClaimPlan {
  const char* name;
  Experiment experiment;
  double target;
  bool higher_is_better;
  const char* unit;
};

// The table of "How it is judged".
constexpr ClaimPlan kClaims[] = {
    {"prefill", Experiment::kNormal, 1.6, true, "tokens/s"},
    {"prefill_512", Experiment::kLongPrompt, 1.6, true, "tokens/s"},
    {"decode", Experiment::kNormal, 1.1, true, "tokens/s"},
    {"decode_of_bandwidth", Experiment::kNormal, 0.85, true, "tokens/s"},
    {"peak_rss", Experiment::kNormal, 0.6, false, "bytes"},
    {"capped_decode", Experiment::kCapped, 0.45, false, "s/token"},
    {"first_token", Experiment::kFirstToken, 0.5, false, "s"},
    {"small_prefill", Experiment::kSmall, 1.1, true, "tokens/s"},
    {"small_decode", Experiment::kSmall, 1.1, true, "tokens/s"},
    {"batch_gain", Experiment::kStreams, 1.0, true, "times one stream"},
};

struct Sides {
  Samples ours, peer;
};

class Comparison {
 public:
  Comparison(const CompareOptions& options, uint64_t memory_limit)
      : options_(options),
        memory_limit_(memory_limit),
        pool_(options.threads),
        ours_{{options.fedglm, "bench"}, options.threads},
        peer_{{options.driver}, options.threads},
        // What fits its memory as it comes only without the second, repacked copy.
        capped_peer_{{options.driver, "--no-repack"}, options.threads} {
    for (const ClaimPlan& claim : kClaims) {
      if (Wanted(claim)) experiments_.insert(claim.experiment);
    }
  }

  // An experiment that fails costs its claims, not the others; Failed then, at the end.
  absl::Status Run(std::vector<Claim>& claims) {
    Progress progress("compare-llamacpp", Runs());
    for (const Experiment experiment : experiments_) {
      if (experiment == Experiment::kCapped) continue;
      FEDGLM_RETURN_IF_ERROR(WarmPageCache(WorkloadOf(experiment).model));
    }
    for (int round = 0; round < options_.repetitions; ++round) {
      for (const Experiment experiment : experiments_) {
        if (failures_.contains(experiment) || round >= RoundsOf(experiment)) continue;
        if (absl::Status status = RunRound(experiment, round, progress); !status.ok()) {
          if (StopRequested()) return status;
          failures_[experiment] = status;
        }
      }
    }
    progress.Finish();
    for (const ClaimPlan& plan : kClaims) {
      if (!Wanted(plan)) continue;
      if (absl::StatusOr<Claim> claim = Conclude(plan); claim.ok()) {
        claims.push_back(*std::move(claim));
      } else {
        ++unmeasured_;
        std::fprintf(stderr, "%s: not measured: %s\n", plan.name, Message(claim.status()).c_str());
      }
    }
    return unmeasured_ == 0 ? absl::OkStatus() : FailedError(std::to_string(unmeasured_) + " claims were not measured");
  }

 private:
  bool Wanted(const ClaimPlan& claim) const {
    return options_.claims.empty() || std::ranges::find(options_.claims, claim.name) != options_.claims.end();
  }
  int RoundsOf(Experiment experiment) const {
    return experiment == Experiment::kCapped ? std::min(options_.repetitions, kCappedRounds) : options_.repetitions;
  }
  int64_t Runs() const {
    int64_t runs = 0;
    for (const Experiment experiment : experiments_) runs += 2 * RoundsOf(experiment);
    return runs;
  }

  Workload WorkloadOf(Experiment experiment) const {
    switch (experiment) {
      case Experiment::kNormal:
        return {options_.model, 128, 16};
      case Experiment::kLongPrompt:
        return {options_.model, 512, 1};
      case Experiment::kFirstToken:
        return {options_.model, kFirstPrompt, 1, 0, 0};
      case Experiment::kSmall:
        return {options_.small, 128, 64};
      case Experiment::kStreams:
        return {options_.model, 16, 16, kStreams};
      case Experiment::kCapped:
        return {options_.model, 4, 4};
    }
    return {};
  }

  absl::Status RunRound(Experiment experiment, int round, Progress& progress) {
    const Workload workload = WorkloadOf(experiment);
    if (experiment == Experiment::kNormal) FEDGLM_RETURN_IF_ERROR(MeasureBandwidth());
    Sides& sides = sides_[experiment];
    for (int turn = 0; turn < 2; ++turn) {
      const bool ours = (round + turn) % 2 == 0;
      progress.Update(runs_done_, workload.model.filename().string() + (ours ? ", fedglm" : ", llama.cpp"));
      Samples& samples = ours ? sides.ours : sides.peer;
      if (experiment == Experiment::kFirstToken && ours) {
        FEDGLM_RETURN_IF_ERROR(WarmPageCache(workload.model));
        FEDGLM_RETURN_IF_ERROR(RunOurFirstToken(samples));
      } else if (experiment == Experiment::kCapped) {
        FEDGLM_RETURN_IF_ERROR(RunCapped(ours ? ours_ : capped_peer_, workload, samples));
      } else {
        FEDGLM_RETURN_IF_ERROR(WarmPageCache(workload.model));
        FEDGLM_RETURN_IF_ERROR(RunEngine(ours ? ours_ : peer_, workload, {}, samples));
      }
      progress.Update(++runs_done_);
    }
    return absl::OkStatus();
  }

  // `fedglm bench` measures engines that are warm. Here the whole life of a process counts: it starts, loads, reads
  // the prompt and has the logits that the first token is chosen by (even those of the whole prompt). llama.cpp's
  // time begins when its libraries are loaded and ends with its first token.
  absl::Status RunOurFirstToken(Samples& samples) {
    FEDGLM_ASSIGN_OR_RETURN(const TemporaryDirectory folder, TemporaryDirectory::Make());
    std::string tokens = "1";
    for (int i = 1; i < kFirstPrompt; ++i) tokens += "," + std::to_string(7 * i + 1);
    FEDGLM_ASSIGN_OR_RETURN(const MeasuredRun run,
                            RunMeasured({options_.fedglm, "logits", "-m", options_.model, "--tokens", tokens, "--out",
                                         folder.path() / "logits", "-t", std::to_string(options_.threads)},
                                        {}));
    samples.Add("first_token_seconds", run.seconds);
    return absl::OkStatus();
  }

  // Both sides begin with nothing of the file in memory: pages that are there already would not count into the limit.
  absl::Status RunCapped(const MeasuredEngine& engine, const Workload& workload, Samples& samples) {
    FEDGLM_ASSIGN_OR_RETURN(const MemoryGroup group, MemoryGroup::Create(memory_limit_));
    FEDGLM_RETURN_IF_ERROR(DropFromPageCache(workload.model));
    FEDGLM_ASSIGN_OR_RETURN(const double resident, ResidentShare(workload.model));
    if (resident > kResidentTolerance) {
      return FailedError(workload.model.string() + " is in use by another process: its pages cannot be dropped");
    }
    RunLimits limits;
    limits.memory_group = group.folder();
    return RunEngine(engine, workload, limits, samples);
  }

  // The mapped model itself is read: what a token costs at least, through the same page tables.
  absl::Status MeasureBandwidth() {
    FEDGLM_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(options_.model));
    double best = 0;
    for (int pass = 0; pass < kBandwidthPasses; ++pass) best = std::max(best, ReadBandwidth(file.bytes(), pool_));
    bandwidth_.push_back(best);
    file_bytes_ = static_cast<double>(file.bytes().size());
    return absl::OkStatus();
  }

  // Both sides' medians of `figure`.
  absl::Status Fill(const Sides& sides, const std::string& figure, Claim& claim) const {
    FEDGLM_ASSIGN_OR_RETURN(claim.ours, sides.ours.MedianOf(figure));
    FEDGLM_ASSIGN_OR_RETURN(claim.peer, sides.peer.MedianOf(figure));
    return absl::OkStatus();
  }

  absl::StatusOr<Claim> Conclude(const ClaimPlan& plan) {
    if (const auto failure = failures_.find(plan.experiment); failure != failures_.end()) return failure->second;
    const Sides& sides = sides_[plan.experiment];
    const std::string name = plan.name;
    Claim claim;
    claim.name = name;
    claim.unit = plan.unit;
    claim.target = plan.target;
    claim.higher_is_better = plan.higher_is_better;
    if (name == "prefill" || name == "prefill_512" || name == "small_prefill") {
      FEDGLM_RETURN_IF_ERROR(Fill(sides, "prefill_tps", claim));
    } else if (name == "peak_rss") {
      FEDGLM_RETURN_IF_ERROR(Fill(sides, "peak_rss_bytes", claim));
      claim.limit = file_bytes_;
    } else if (name == "first_token") {
      FEDGLM_RETURN_IF_ERROR(Fill(sides, "first_token_seconds", claim));
    } else if (name == "batch_gain") {
      Claim one;
      FEDGLM_RETURN_IF_ERROR(Fill(sides, "decode_tps", one));
      FEDGLM_RETURN_IF_ERROR(Fill(sides, "batch_tps", claim));
      claim.ours /= one.ours;
      claim.peer /= one.peer;
      claim.limit = kStreams;
    } else {
      FEDGLM_RETURN_IF_ERROR(Fill(sides, "decode_tps", claim));
    }
    if (name == "decode" || name == "decode_of_bandwidth") claim.limit = Median(bandwidth_) / file_bytes_;
    if (name == "capped_decode") {
      claim.ours = 1 / claim.ours;
      claim.peer = 1 / claim.peer;
    }
    claim.ratio = claim.ours / (name == "decode_of_bandwidth" ? *claim.limit : claim.peer);
    return claim;
  }

  const CompareOptions& options_;
  const uint64_t memory_limit_;
  ThreadPool pool_;
  const MeasuredEngine ours_, peer_, capped_peer_;
  std::set<Experiment> experiments_;
  std::map<Experiment, Sides> sides_;
  std::map<Experiment, absl::Status> failures_;
  std::vector<double> bandwidth_;  // bytes per second, one a round
  double file_bytes_ = 0;
  int64_t runs_done_ = 0;
  int unmeasured_ = 0;
};

// The path that a script of this tree prints.
absl::StatusOr<fs::path> PathFrom(const std::string& script) {
  FEDGLM_ASSIGN_OR_RETURN(const MeasuredRun run, RunMeasured({std::string(FEDGLM_SOURCE_DIR) + "/" + script}, {}));
  return fs::path(run.output.substr(0, run.output.find('\n')));
}

bool Uses(const CompareOptions& options, bool small) {
  return std::ranges::any_of(kClaims, [&](const ClaimPlan& claim) {
    const bool wanted = options.claims.empty() || std::ranges::find(options.claims, claim.name) != options.claims.end();
    return wanted && (claim.experiment == Experiment::kSmall) == small;
  });
}

fs::path CacheFolder() {
  const char* const cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache != '\0') return fs::path(cache) / "fedglm";
  const char* const home = std::getenv("HOME");
  return fs::path(home == nullptr ? "/tmp" : home) / ".cache" / "fedglm";
}

// What the user did not name: the peer, and the models that the table speaks of.
absl::Status FindInputs(CompareOptions& options) {
  if (options.fedglm.empty()) options.fedglm = ExecutableDirectory() / "fedglm";
  if (options.driver.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(options.driver, PathFrom("bench/fetch-llamacpp"));
  }
  if (options.small.empty() && Uses(options, true)) {
    FEDGLM_ASSIGN_OR_RETURN(options.small, PathFrom("deploy/fetch-test-model"));
  }
  if (!options.model.empty() || !Uses(options, false)) return absl::OkStatus();
  options.model = CacheFolder() / "glm4-9b-q4_0.gguf";
  if (fs::exists(options.model)) return absl::OkStatus();
  std::fprintf(stderr, "compare-llamacpp: making %s (5.3 GB)\n", options.model.c_str());
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(options.model.parent_path()));
  RandomModelOptions model;
  FEDGLM_ASSIGN_OR_RETURN(model.shape, ShapeOf("glm4-9b"));
  return WriteRandomModel(
             model, options.model,
             [](int64_t, const std::string&) { return StopRequested() ? CancelledError("stopped") : absl::OkStatus(); })
      .status();
}

absl::Status Compare(CompareOptions options) {
  FEDGLM_ASSIGN_OR_RETURN(const uint64_t memory_limit, ParseByteSize(options.memory_limit));
  FEDGLM_RETURN_IF_ERROR(FindInputs(options));
  std::vector<Claim> claims;
  const MachineLoad load;
  const absl::Status status = Comparison(options, memory_limit).Run(claims);
  if (const double others = load.OthersShare(); others > kBusyMachine) {
    std::fprintf(stderr, "compare-llamacpp: other programs used %.0f %% of the processors: doubtful figures\n",
                 100 * others);
  }
  if (options.json) {
    std::printf("%s\n", DumpJson(ClaimsAsJson(claims), 2).c_str());
  } else {
    std::fputs(ClaimsAsTable(claims, "llama.cpp").c_str(), stdout);
  }
  if (!options.svg.empty()) {
    FEDGLM_RETURN_IF_ERROR(PlotClaims(claims, "fedglm against llama.cpp", options.svg));
  }
  return status;
}

}  // namespace
}  // namespace fedglm::bench

int main(int argc, char** argv) {
  using namespace fedglm;
  HandleStopSignals();
  bench::CompareOptions options;
  std::vector<std::string> names;
  for (const bench::ClaimPlan& claim : bench::kClaims) names.emplace_back(claim.name);
  CommandLine line("compare-llamacpp", "fedglm against llama.cpp: medians of one alternating run");
  Command app = line.root();
  app.Add("--model", options.model, "GLM-4 9B in Q4_0; made of random weights if not given").ExistingFile();
  app.Add("--small", options.small, "SmolLM2-135M in Q4_1; fetched if not given").ExistingFile();
  app.Add("--claims", options.claims, "comma-separated; all by default").Separated(',').OneOf(names);
  app.Add("-t,--threads", options.threads).ShowDefault().Between(1, 1024);
  app.Add("-r,--repetitions", options.repetitions).ShowDefault().Between(1, 1000);
  app.Add("--memory-limit", options.memory_limit, "of capped_decode").ShowDefault();
  app.Add("--fedglm", options.fedglm, "our program; the one beside this by default").ExistingFile();
  app.Add("--llamacpp-driver", options.driver, "what bench/fetch-llamacpp makes").ExistingFile();
  app.Add("--svg", options.svg, "also plot the ratios into this file");
  app.AddFlag("--json", options.json);
  return line.Run(argc, argv, [&] { return bench::Compare(options); });
}
