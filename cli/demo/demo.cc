// fedglm demo: one hospital and five branches adapt one quantized model, for real, on this machine; then a table that
// says what it was worth.
#include <httplib.h>

#include <cstdio>
#include <optional>
#include <thread>

#include "base/clock.h"
#include "base/configuration.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/thread_annotations.h"
#include "cli/command.h"
#include "cli/demo/baselines.h"
#include "cli/demo/demo_federation.h"
#include "cli/demo/demo_report.h"
#include "cli/demo/demo_sites.h"
#include "cli/evaluation.h"
#include "cli/model_options.h"
#include "cli/plan_flags.h"
#include "inference/gguf/new_adapter.h"

namespace fedglm::cli {
namespace {

constexpr int64_t kAnswerTokens = 48;

struct DemoOptions {
  std::string model, data, work_dir;
  DemoPlan plan;
  AdapterConfig adapter;
  int sites = 6;
  bool json = false;
};

// The demo's own base lies beside the programs of a build; an installation has it in share/fedglm.
std::filesystem::path OwnModel() {
  const std::filesystem::path programs = ExecutableDirectory(), built = programs / "glm4-hospital.gguf";
  std::error_code ignored;
  if (std::filesystem::exists(built, ignored)) return built;
  return programs.parent_path() / "share/fedglm/glm4-hospital.gguf";
}

// A folder that is empty, or not there yet: nothing of anybody's is written over.
absl::Status CheckWorkDir(const std::filesystem::path& folder) {
  std::error_code error;
  if (!std::filesystem::exists(folder, error)) return absl::OkStatus();
  if (!std::filesystem::is_directory(folder, error)) return UsageError(folder.string() + " is no folder");
  if (!std::filesystem::is_empty(folder, error))
    return UsageError(folder.string() + " is not empty: give another --work-dir");
  return absl::OkStatus();
}

absl::StatusOr<std::string> AskEngine(Engine& engine, const std::string& question) {
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<ChatPart> parts,
                          RenderChat(engine.chat_template(), engine.tokenizer(), {{"user", question}}, true));
  GenerationRequest request;
  request.prompt = JoinParts(parts);
  request.max_tokens = kAnswerTokens;
  request.sampling.temperature = 0;
  FEDGLM_ASSIGN_OR_RETURN(const GenerationResult result, engine.Generate(request, {}));
  return result.text;
}

// As a user of the site would: OpenAI's API on the node, which goes on serving.
absl::StatusOr<std::string> AskNode(const std::string& address, const std::string& question) {
  httplib::Client client("http://" + address);
  client.set_read_timeout(120, 0);
  const Json body = {
      {"messages", {{{"role", "user"}, {"content", question}}}}, {"temperature", 0}, {"max_tokens", kAnswerTokens}};
  const httplib::Result response = client.Post("/v1/chat/completions", DumpJson(body), "application/json");
  if (!response) return UnreachableError("http://" + address + ": " + httplib::to_string(response.error()));
  FEDGLM_ASSIGN_OR_RETURN(const Json json, ParseJson(response->body, "http://" + address));
  if (response->status != 200) return FailedError("http://" + address + ": status " + std::to_string(response->status));
  return json["choices"][0]["message"]["content"].get<std::string>();
}

// The loss of one adapter ("": the base alone) on every site's held-out records.
absl::StatusOr<std::vector<Engine::Loss>> LossesOf(Engine& engine, const std::string& adapter,
                                                   const std::vector<DemoSite>& sites, int64_t sequence_length) {
  std::shared_ptr<const Adapter> loaded;
  if (!adapter.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(loaded, OpenAdapter(adapter, engine.file()));
  }
  FEDGLM_RETURN_IF_ERROR(engine.SetAdapter(loaded));
  std::vector<Engine::Loss> losses;
  for (const DemoSite& site : sites) {
    FEDGLM_ASSIGN_OR_RETURN(const Engine::Loss loss, EvaluateRecords(engine, {site.held_out}, sequence_length, true));
    losses.push_back(loss);
  }
  return losses;
}

double Together(const std::vector<Engine::Loss>& losses) {
  Engine::Loss total;
  for (const Engine::Loss& loss : losses) total.sum += loss.sum, total.tokens += loss.tokens;
  return total.mean();
}

// The losses of several adapters, one engine a core: a small model does not gain from more threads.
class AdapterComparison {
 public:
  using Losses = std::vector<std::vector<Engine::Loss>>;  // of each adapter, of each site

  AdapterComparison(const DemoPlan& plan, const std::vector<DemoSite>& sites, const std::vector<std::string>& adapters,
                    bool quiet)
      : plan_(plan),
        sites_(sites),
        adapters_(adapters),
        progress_("evaluate", static_cast<int64_t>(adapters.size()), quiet),
        losses_(adapters.size()) {}

  absl::StatusOr<Losses> Run() {
    std::vector<std::jthread> threads;  // joined also if the next cannot be started
    for (int i = 0; i < UsablePhysicalCores(); ++i) threads.emplace_back([this] { Work(); });
    for (std::jthread& thread : threads) thread.join();
    MutexLock lock(mutex_);
    FEDGLM_RETURN_IF_ERROR(status_);
    progress_.Finish();
    return losses_;
  }

 private:
  void Work() {
    const absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Open(plan_.model, {.threads = 1});
    while (const std::optional<size_t> mine = Next(engine.status())) {
      auto result = LossesOf(**engine, adapters_[*mine], sites_, plan_.training.sequence_length);
      MutexLock lock(mutex_);
      if (!result.ok())
        status_ = result.status();
      else
        losses_[*mine] = *std::move(result);
      progress_.Update(++done_);
    }
  }

  // The next adapter; nothing if there is none, or something has failed.
  std::optional<size_t> Next(const absl::Status& engine) {
    MutexLock lock(mutex_);
    if (!engine.ok()) status_ = engine;
    if (!status_.ok() || next_ == adapters_.size()) return std::nullopt;
    return next_++;
  }

  const DemoPlan& plan_;
  const std::vector<DemoSite>& sites_;
  const std::vector<std::string>& adapters_;
  Mutex mutex_;
  Progress progress_ ABSL_GUARDED_BY(mutex_);
  Losses losses_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  size_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t done_ ABSL_GUARDED_BY(mutex_) = 0;
};

absl::Status Compare(const DemoPlan& plan, const std::vector<DemoSite>& sites, const Baselines& baselines,
                     const std::filesystem::path& federated_adapter, bool quiet, DemoReport& report) {
  std::vector<std::string> adapters = {"", federated_adapter, baselines.pooled};
  adapters.insert(adapters.end(), baselines.local.begin(), baselines.local.end());
  FEDGLM_ASSIGN_OR_RETURN(const AdapterComparison::Losses losses,
                          AdapterComparison(plan, sites, adapters, quiet).Run());
  const std::vector<Engine::Loss>&base = losses[0], &federated = losses[1], &pooled = losses[2];
  report.overall = {Together(base), 0, Together(federated), Together(pooled)};
  for (size_t i = 0; i < sites.size(); ++i) {
    const std::vector<Engine::Loss>& local = losses[3 + i];
    report.sites[i].losses = {base[i].mean(), local[i].mean(), federated[i].mean(), pooled[i].mean()};
    if (i == 0 || Together(local) < report.overall.local) {
      report.overall.local = Together(local);
      report.best_local = sites[i].name;
    }
  }
  return absl::OkStatus();
}

absl::Status WriteInitialAdapter(const DemoOptions& options, const GgufFile& base,
                                 const Hyperparameters& hyperparameters) {
  FEDGLM_ASSIGN_OR_RETURN(const std::string base_sha256, ModelSha256(base.path()));
  FEDGLM_ASSIGN_OR_RETURN(const Adapter adapter,
                          MakeNewAdapter(hyperparameters, base_sha256, options.adapter, options.plan.training.seed));
  return SaveAdapter(adapter, options.plan.initial_adapter);
}

absl::Status DescribeFederation(DemoFederation& federation, DemoReport& report) {
  FEDGLM_ASSIGN_OR_RETURN(const v1::ListNodesResponse nodes, federation.administration().Nodes());
  FEDGLM_ASSIGN_OR_RETURN(const v1::ListRoundsResponse rounds, federation.administration().Rounds());
  for (DemoReport::Site& site : report.sites) {
    for (const v1::NodeSummary& node : nodes.nodes()) {
      if (node.site_id() == site.name) site.bytes_sent = node.bytes_received();
    }
  }
  for (const v1::RoundSummary& round : rounds.rounds()) report.losses_by_round.push_back(round.mean_evaluation_loss());
  return absl::OkStatus();
}

absl::Status RunDemo(DemoOptions options) {
  const Stopwatch watch;
  std::optional<TemporaryDirectory> temporary;
  if (options.work_dir.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(temporary, TemporaryDirectory::Make("fedglm-demo"));
    options.work_dir = temporary->path();
  }
  FEDGLM_RETURN_IF_ERROR(CheckWorkDir(options.work_dir));
  DemoPlan& plan = options.plan;
  plan.work_dir = std::filesystem::absolute(options.work_dir);
  plan.model = std::filesystem::absolute(options.model.empty() ? OwnModel() : std::filesystem::path(options.model));
  plan.initial_adapter = plan.work_dir / "initial-adapter";
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(plan.work_dir, 0700));

  FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine, Engine::Open(plan.model, {}));
  FEDGLM_RETURN_IF_ERROR(WriteInitialAdapter(options, engine->file(), engine->hyperparameters()));
  FEDGLM_ASSIGN_OR_RETURN(const DemoRecords records,
                          options.data.empty()
                              ? HospitalRecords(plan.work_dir / "records", options.sites, options.plan.training.seed)
                              : SplitRecords(options.data, plan.work_dir / "records", options.sites));
  DemoReport report;
  report.rounds = plan.rounds;
  report.asked_at = records.sites.front().name;
  report.question = records.question;
  report.expected = records.expected;
  for (const DemoSite& site : records.sites) report.sites.push_back({site.name, site.training_records, 0, {}});
  if (!records.question.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(report.answer_before, AskEngine(*engine, records.question));
  }

  std::filesystem::path federated_adapter = plan.work_dir / "federated-adapter";
  {
    FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<DemoFederation> federation,
                            DemoFederation::Start(plan, records.sites, options.json));
    FEDGLM_RETURN_IF_ERROR(federation->Watch(options.json));
    FEDGLM_RETURN_IF_ERROR(DescribeFederation(*federation, report));
    const std::string& asked_at = records.sites.front().name;
    if (!records.question.empty()) {
      FEDGLM_ASSIGN_OR_RETURN(const std::string address, federation->ServingAddressOf(asked_at));
      FEDGLM_ASSIGN_OR_RETURN(report.answer_after, AskNode(address, records.question));
    }
    FEDGLM_ASSIGN_OR_RETURN(const Adapter adapter, LoadAdapter(federation->AdapterOf(asked_at)));
    FEDGLM_RETURN_IF_ERROR(SaveAdapter(adapter, federated_adapter));
  }
  FEDGLM_ASSIGN_OR_RETURN(const Baselines baselines, TrainBaselines(plan, records.sites, options.json));
  FEDGLM_RETURN_IF_ERROR(Compare(plan, records.sites, baselines, federated_adapter, options.json, report));
  report.seconds = watch.Seconds();
  if (options.json) {
    std::printf("%s\n", DumpJson(ToJson(report), 2).c_str());
  } else {
    std::printf("\n%s", FormatTable(report).c_str());
    if (!temporary) std::printf("\nEverything is in %s: records, logs, adapters.\n", plan.work_dir.c_str());
  }
  return absl::OkStatus();
}

}  // namespace

void AddDemo(CommandLine& line) {
  auto options = std::make_shared<DemoOptions>();
  DemoPlan& plan = options->plan;
  // What suits the demo's own model: few steps a round, so that the sites do not drift apart, and rounds enough to
  // agree.
  TrainingPlan& training = plan.training;
  plan.rounds = 10;
  training.steps = 6;
  training.batch_tokens = 512;
  training.sequence_length = 256;  // its reports are shorter
  training.learning_rate = 0.03;
  training.schedule = "cosine";
  Command app = line.Add("demo", "a hospital and its branches adapt one model together, on this machine",
                         [options] { return RunDemo(*options); });
  app.Add("-m,--model", options->model, "GGUF file; default: the demo's own small GLM-4");
  app.Add("--data", options->data,
          "records (JSON Lines) or a text, split among the sites; default: made-up radiology reports");
  app.Add("--sites", options->sites).ShowDefault().Between(1, 6);
  app.Add("--rounds", plan.rounds).ShowDefault().Between(1, 1000);
  AddPlanFlags(app, training);
  app.Add("--rank", options->adapter.rank).ShowDefault().Between(1, 1024);
  app.Add("--alpha", options->adapter.alpha).ShowDefault().NumberBetween(1e-6, 1e6);
  app.Add("--mode", plan.mode).ShowDefault().OneOf({"freeze-a", "average", "stack"});
  app.Add("--work-dir", options->work_dir,
          "keep records, logs and adapters here; default: a temporary folder, removed at the end");
  app.AddFlag("--json", options->json, "the table as JSON, and no progress");
}

}  // namespace fedglm::cli
