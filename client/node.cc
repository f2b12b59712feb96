#include "client/node.h"

#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "client/identity_keeper.h"
#include "client/outbox.h"
#include "client/round_loop.h"
#include "inference/api/api_server.h"
#include "inference/engine/engine.h"

namespace fedglm {
namespace {

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
  State(const NodeOptions& o, const std::string& base) : options(o), base_sha256(base) {}

  const NodeOptions options;
  const std::string base_sha256;
  std::unique_ptr<TrainerSupervisor> supervisor;
  std::unique_ptr<Outbox> outbox;
  std::unique_ptr<Engine> engine;
  std::unique_ptr<ApiServer> api;
  std::unique_ptr<RoundLoop> rounds;

  absl::Status WriteAddresses() const {
    const Json addresses = {{"version", 1}, {"serve", options.serve.host + ":" + std::to_string(api->port())}};
    return WriteFileAtomically(options.state_dir / "addresses.json", DumpJson(addresses, 2) + "\n");
  }
};

Node::Node(std::unique_ptr<State> state) : state_(std::move(state)) {}

absl::StatusOr<std::unique_ptr<Node>> Node::Start(const NodeOptions& options, const NodeMembership& membership,
                                                  const std::string& base_sha256,
                                                  std::unique_ptr<TrainerSupervisor> supervisor) {
  auto state = std::make_unique<State>(options, base_sha256);
  State& s = *state;
  s.supervisor = std::move(supervisor);
  FEDGLM_RETURN_IF_ERROR(RemoveRemnants(options.state_dir));
  FEDGLM_ASSIGN_OR_RETURN(Outbox outbox, Outbox::Open(options.state_dir / "outbox"));
  s.outbox = std::make_unique<Outbox>(std::move(outbox));
  EngineOptions engine = options.engine;
  engine.threads = options.threads;
  if (options.autotune) engine.tuning_folder = options.state_dir / "autotune";  // the one folder that it may write
  FEDGLM_ASSIGN_OR_RETURN(s.engine, Engine::Open(options.model, engine));
  s.rounds = std::make_unique<RoundLoop>(
      RoundLoopRooms{s.options, s.base_sha256, *s.supervisor, *s.outbox,
                     [&s](const Adapter& adapter) { return s.engine->CheckAdapter(adapter); },
                     [&s](std::shared_ptr<const Adapter> adapter) { return s.engine->SetAdapter(std::move(adapter)); },
                     membership.keeper});
  if (membership.identity) s.rounds->Join(*membership.identity);
  FEDGLM_ASSIGN_OR_RETURN(s.api, ApiServer::Start(*s.engine, options.serve));
  FEDGLM_RETURN_IF_ERROR(s.WriteAddresses());
  LogInfo(std::string("serving on ") + (options.serve.tls_certificate.empty() ? "http://" : "https://") +
          options.serve.host + ":" + std::to_string(s.api->port()) + "/v1");
  s.rounds->Start();
  return std::unique_ptr<Node>(new Node(std::move(state)));
}

Node::~Node() { Stop(); }

void Node::LookAgain() { state_->rounds->LookAgain(); }

void Node::Stop() {
  state_->rounds->Stop();
  state_->api->Stop();
}

}  // namespace fedglm
