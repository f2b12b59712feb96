#include "client/node.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/thread_annotations.h"
#include "client/federation_client.h"
#include "client/outbox.h"
#include "client/round_participant.h"
#include "inference/api/api_server.h"
#include "inference/engine/engine.h"

namespace fedglm {
namespace {

constexpr auto kLongPoll = std::chrono::seconds(30);
constexpr auto kFirstBackoff = std::chrono::milliseconds(500);
constexpr auto kLongestBackoff = std::chrono::milliseconds(60000);
constexpr auto kFinishedPause = std::chrono::milliseconds(30000);
constexpr uint32_t kShortestWaitMs = 50, kLongestWaitMs = 60000;

// What a killed node left behind: a job's files, and adapters that were being written ("adapter.1a2b3c4d").
absl::Status RemoveRemnants(const std::filesystem::path& state_dir) {
  std::vector<std::filesystem::path> remnants = {state_dir / "work"};
  std::error_code error;
  for (std::filesystem::directory_iterator file(state_dir, error), end; !error && file != end; file.increment(error)) {
    if (file->path().filename().string().rfind("adapter.", 0) == 0) remnants.push_back(file->path());
  }
  for (const std::filesystem::path& path : remnants) {
    if (!error) std::filesystem::remove_all(path, error);
  }
  return error ? FailedError(state_dir.string() + ": " + error.message()) : absl::OkStatus();
}

}  // namespace

struct Node::State {
  State(const NodeOptions& o, const SiteIdentity& i, const std::string& base)
      : options(o), identity(i), base_sha256(base), aggregator(i, o.state_dir / "artifacts") {}

  const NodeOptions options;
  const SiteIdentity identity;
  const std::string base_sha256;
  FederationClient aggregator;
  std::unique_ptr<TrainerSupervisor> supervisor;
  std::unique_ptr<Outbox> outbox;
  std::unique_ptr<Engine> engine;
  std::unique_ptr<ApiServer> api;
  std::unique_ptr<RoundParticipant> participant;
  InstalledRound installed;  // the round thread's, once it runs

  std::atomic<bool> ended{false};
  absl::Status result;  // of the round thread: read after it has been joined
  Mutex mutex;
  std::condition_variable woken;
  bool stopping ABSL_GUARDED_BY(mutex) = false;
  std::thread rounds;

  bool Stopping() {
    MutexLock lock(mutex);
    return stopping;
  }

  void Pause(std::chrono::milliseconds duration) {
    MutexLock lock(mutex);
    if (!stopping) lock.WaitFor(woken, duration);
  }

  absl::Status Do(const v1::Task& task) {
    switch (task.task_case()) {
      case v1::Task::kTrain:
        return participant->Train(task.train());
      case v1::Task::kInstall: {
        FEDGLM_ASSIGN_OR_RETURN(installed, participant->Install(task.install()));
        return absl::OkStatus();
      }
      case v1::Task::kFinished:
        Pause(kFinishedPause);  // goes on answering its users
        return absl::OkStatus();
      default:
        // Also for a task that this node does not know.
        Pause(std::chrono::milliseconds(std::clamp(task.wait().retry_after_ms(), kShortestWaitMs, kLongestWaitMs)));
        return absl::OkStatus();
    }
  }

  absl::Status TakePart() {
    FEDGLM_RETURN_IF_ERROR(participant->SendWaiting());
    FEDGLM_ASSIGN_OR_RETURN(
        const v1::Task task,
        aggregator.NextTask({installed.round, base_sha256, supervisor->training_records()}, kLongPoll));
    return Do(task);
  }

  // Until Stop(), until the aggregator refuses this site, its training records turn out to be none, or its supervisor
  // is gone. Everything else is tried again, slower and slower.
  void Run() {
    auto backoff = kFirstBackoff;
    while (!Stopping()) {
      const absl::Status status = TakePart();
      if (Stopping()) break;
      if (status.ok()) {
        backoff = kFirstBackoff;
        continue;
      }
      // Neither mends itself: the aggregator does not want this site, or what it is to train on is no record.
      if (ExitCodeOf(status) == ExitCode::kRefused || ExitCodeOf(status) == ExitCode::kBadInputFile) {
        result = status;
        break;
      }
      if (!supervisor->Running()) {
        result = FailedError("the trainer supervisor was ended; the node has to be started again");
        break;
      }
      LogWarning(Message(status) + "; trying again in " + std::to_string(backoff.count()) + " ms");
      Pause(backoff);
      backoff = std::min(backoff * 2, std::chrono::milliseconds(kLongestBackoff));
    }
    ended = true;
  }

  absl::Status WriteAddresses() const {
    const Json addresses = {{"version", 1}, {"serve", options.serve.host + ":" + std::to_string(api->port())}};
    return WriteFileAtomically(options.state_dir / "addresses.json", DumpJson(addresses, 2) + "\n");
  }
};

Node::Node(std::unique_ptr<State> state) : state_(std::move(state)) {}

absl::StatusOr<std::unique_ptr<Node>> Node::Start(const NodeOptions& options, const SiteIdentity& identity,
                                                  const std::string& base_sha256,
                                                  std::unique_ptr<TrainerSupervisor> supervisor) {
  auto state = std::make_unique<State>(options, identity, base_sha256);
  State& s = *state;
  s.supervisor = std::move(supervisor);
  FEDGLM_RETURN_IF_ERROR(RemoveRemnants(options.state_dir));
  FEDGLM_ASSIGN_OR_RETURN(Outbox outbox, Outbox::Open(options.state_dir / "outbox"));
  s.outbox = std::make_unique<Outbox>(std::move(outbox));
  EngineOptions engine = options.engine;
  engine.threads = options.threads;
  if (options.autotune) engine.tuning_folder = options.state_dir / "autotune";  // the one folder that it may write
  FEDGLM_ASSIGN_OR_RETURN(s.engine, Engine::Open(options.model, engine));
  s.participant = std::make_unique<RoundParticipant>(ParticipantRooms{
      s.options, s.identity, s.base_sha256, s.aggregator, *s.supervisor, *s.outbox,
      [&s](const Adapter& adapter) { return s.engine->CheckAdapter(adapter); },
      [&s](std::shared_ptr<const Adapter> adapter) { return s.engine->SetAdapter(std::move(adapter)); },
      [&s] { return s.Stopping(); }});
  FEDGLM_ASSIGN_OR_RETURN(s.installed, s.participant->Resume());
  FEDGLM_ASSIGN_OR_RETURN(s.api, ApiServer::Start(*s.engine, options.serve));
  FEDGLM_RETURN_IF_ERROR(s.WriteAddresses());
  LogInfo("site " + identity.site_id + " of federation '" + identity.federation + "', " +
          std::to_string(s.supervisor->training_records()) + " records, serving on " +
          (options.serve.tls_certificate.empty() ? "http://" : "https://") + options.serve.host + ":" +
          std::to_string(s.api->port()) + "/v1");
  s.rounds = std::thread([&s] { s.Run(); });
  return std::unique_ptr<Node>(new Node(std::move(state)));
}

Node::~Node() { (void)Stop(); }

bool Node::Running() const { return !state_->ended; }

absl::Status Node::Stop() {
  {
    MutexLock lock(state_->mutex);
    state_->stopping = true;
    state_->woken.notify_all();
  }
  state_->aggregator.Cancel();
  if (state_->rounds.joinable()) state_->rounds.join();
  state_->api->Stop();
  return state_->result;
}

}  // namespace fedglm
