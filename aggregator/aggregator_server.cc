#include "aggregator/aggregator_server.h"

#include <grpcpp/ext/health_check_service_server_builder_option.h>
#include <grpcpp/grpcpp.h>

#include <optional>

#include "aggregator/membership/server_certificate.h"
#include "aggregator/server_credentials.h"
#include "aggregator/services.h"
#include "base/file.h"
#include "base/json.h"
#include "base/lock_file.h"
#include "base/log.h"
#include "proto/grpc_log.h"

namespace fedglm {
namespace {

// What one connection may hold; OpenCalls says what a site may. kMaxThreads are for administrators, and for enrolment;
// the calls of sites have kTaskThreads.
constexpr int kMaxCallsPerConnection = 16, kMaxThreads = 32, kMaxMessageBytes = 2 << 20, kTaskThreads = 4;

// What gRPC reads of a call before it is asked for more. By itself it lets that grow with the line's speed. 100 sites
// that send at once have so 25 MiB there.
constexpr int kReadAheadBytes = 256 << 10;

std::string HostPart(const std::string& address) { return address.substr(0, address.rfind(':')); }

// One gRPC server on `listen`. The port that was taken is put into `port`.
absl::StatusOr<std::unique_ptr<grpc::Server>> Listen(const std::string& listen,
                                                     const std::shared_ptr<grpc::ServerCredentials>& credentials,
                                                     const std::vector<grpc::Service*>& services, int& port) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort(listen, credentials, &port);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // A site that lost its power is noticed: its half-sent upload would else bar it from going on.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 20000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxCallsPerConnection);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kReadAheadBytes);
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.SetResourceQuota(grpc::ResourceQuota().SetMaxThreads(kMaxThreads));
  for (grpc::Service* service : services) builder.RegisterService(service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) return UnreachableError("cannot listen on " + listen + " (in use?)");
  return server;
}

// The database of a state folder. ConfigurationError if the folder is in use but not whole: half of a restored backup
// must not look like a federation that begins.
absl::StatusOr<std::unique_ptr<Store>> OpenStore(const std::filesystem::path& state_dir) {
  const std::filesystem::path path = state_dir / "state.sqlite";
  std::error_code error;
  if (!std::filesystem::exists(path, error) && std::filesystem::exists(state_dir / "ca-key.pem", error)) {
    return ConfigurationError(path.string() +
                              ": missing from a state folder that is in use; restore it from the backup");
  }
  FEDGLM_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, Store::Open(path));
  FEDGLM_ASSIGN_OR_RETURN(const std::string initial_adapter, store->Setting("initial_adapter"));
  // The keys were made before the first adapter was signed with one of them.
  if (!initial_adapter.empty()) FEDGLM_RETURN_IF_ERROR(CertificateAuthority::CheckComplete(state_dir));
  return store;
}

// The authority outlives what writes to the store's audit log.
void SignCheckpoints(Store& store, const CertificateAuthority& authority) {
  store.SignCheckpointsWith([&authority](std::string_view text) { return authority.SignCheckpoint(text); });
}

absl::Status WriteAddresses(const AggregatorOptions& options, const std::string& federation,
                            const std::string& enrolment) {
  const Json addresses = {{"version", 1}, {"federation", federation}, {"enrolment", enrolment}};
  return WriteFileAtomically(options.state_dir / "addresses.json", DumpJson(addresses, 2) + "\n");
}

}  // namespace

struct AggregatorServer::State {
  AggregatorOptions options;
  std::optional<LockFile> lock;
  std::unique_ptr<Store> store;
  std::unique_ptr<Artifacts> artifacts, strategy_states;
  std::unique_ptr<Spool> spool;
  std::unique_ptr<CertificateAuthority> authority;
  std::unique_ptr<Enrolment> enrolment;
  std::unique_ptr<RoundMachine> rounds;
  // Tasks hold calls, and the round machine what waits for it: in this order all is gone before what it needs.
  std::unique_ptr<ServiceRooms> rooms;
  std::unique_ptr<OpenCalls> calls;
  std::unique_ptr<TaskPool> decisions, tasks;
  std::unique_ptr<v1::Enrolment::Service> enrolment_service;
  std::unique_ptr<v1::Federation::CallbackService> federation_service;
  std::unique_ptr<v1::Administration::Service> administration_service;
  std::unique_ptr<ServerCertificate> certificate;
  std::shared_ptr<grpc::ServerCredentials> enrolment_credentials, federation_credentials;
  std::unique_ptr<grpc::Server> enrolment_server, federation_server;

  absl::Status OpenPorts(Clock& clock);
};

absl::Status AggregatorServer::State::OpenPorts(Clock& clock) {
  FEDGLM_ASSIGN_OR_RETURN(const AggregatorOptions::Advertised dialled, options.WhatToDial());
  certificate = std::make_unique<ServerCertificate>(*authority, dialled.certificate_names, clock);
  FEDGLM_RETURN_IF_ERROR(certificate->ForHandshake().status());
  federation_credentials =
      MakeServerCredentials(*certificate, authority->certificate_pem(), ClientCertificates::kRequired);
  enrolment_credentials = MakeServerCredentials(*certificate, authority->certificate_pem(), ClientCertificates::kNone);
  const auto as_dialled = [](const ListenAddress& address, int port) {
    return HostAndPort(address.host, address.port > 0 ? address.port : port);
  };
  int port = 0;
  // The federation's port first: enrolment answers with its address.
  FEDGLM_ASSIGN_OR_RETURN(federation_server, Listen(options.listen, federation_credentials,
                                                    {federation_service.get(), administration_service.get()}, port));
  rooms->federation_address = as_dialled(dialled.federation, port);
  FEDGLM_ASSIGN_OR_RETURN(enrolment_server,
                          Listen(options.enrolment_listen, enrolment_credentials, {enrolment_service.get()}, port));
  rooms->enrolment_address = as_dialled(dialled.enrolment, port);
  return absl::OkStatus();
}

AggregatorServer::AggregatorServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

absl::StatusOr<std::unique_ptr<AggregatorServer>> AggregatorServer::Start(const AggregatorOptions& options,
                                                                          Clock& clock) {
  auto state = std::make_unique<State>();
  State& s = *state;
  s.options = options;
  RequireTls13();
  SilenceGrpc();
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(options.state_dir, 0700));
  // Another one has these ports, too; this says more of it.
  FEDGLM_ASSIGN_OR_RETURN(LockFile lock,
                          LockFile::Take(options.state_dir / "lock",
                                         options.state_dir.string() + ": another aggregator runs on this state"));
  s.lock.emplace(std::move(lock));
  FEDGLM_ASSIGN_OR_RETURN(s.store, OpenStore(options.state_dir));
  FEDGLM_ASSIGN_OR_RETURN(Artifacts artifacts, Artifacts::Open(options.state_dir / "artifacts"));
  s.artifacts = std::make_unique<Artifacts>(std::move(artifacts));
  FEDGLM_ASSIGN_OR_RETURN(Artifacts strategy_states, Artifacts::Open(options.state_dir / "strategy"));
  s.strategy_states = std::make_unique<Artifacts>(std::move(strategy_states));
  FEDGLM_ASSIGN_OR_RETURN(s.spool, Spool::Open(options.state_dir / "spool"));
  FEDGLM_ASSIGN_OR_RETURN(CertificateAuthority authority,
                          CertificateAuthority::Open(options.state_dir, options.federation, clock));
  s.authority = std::make_unique<CertificateAuthority>(std::move(authority));
  SignCheckpoints(*s.store, *s.authority);
  s.enrolment = std::make_unique<Enrolment>(s.options, *s.store, *s.authority, clock);
  FEDGLM_ASSIGN_OR_RETURN(
      s.rounds, RoundMachine::Open(options, *s.store, *s.artifacts, *s.strategy_states, *s.spool, *s.authority, clock));
  s.tasks = std::make_unique<TaskPool>(kTaskThreads);
  s.decisions = std::make_unique<TaskPool>(1);  // one update is in memory at a time
  s.calls = std::make_unique<OpenCalls>(*s.store);
  s.rooms.reset(new ServiceRooms{s.options, *s.store, *s.artifacts, *s.spool, *s.authority, *s.enrolment, *s.rounds,
                                 *s.calls, *s.tasks, *s.decisions});
  s.enrolment_service = MakeEnrolmentService(*s.rooms);
  s.federation_service = MakeFederationService(*s.rooms);
  s.administration_service = MakeAdministrationService(*s.rooms);

  grpc::EnableDefaultHealthCheckService(true);
  FEDGLM_RETURN_IF_ERROR(s.OpenPorts(clock));
  s.rooms->started = true;
  FEDGLM_RETURN_IF_ERROR(WriteAddresses(options, s.rooms->federation_address, s.rooms->enrolment_address));
  if (options.min_updates < 3) {
    LogWarning("federation.min_updates is " + std::to_string(options.min_updates) +
               ": a site can tell another's update from the mean of so few");
  }
  LogInfo("federation '" + options.federation + "' on " + HostPart(options.listen) + ", dial " +
          s.rooms->federation_address + ", enrol at " + s.rooms->enrolment_address);
  return std::unique_ptr<AggregatorServer>(new AggregatorServer(std::move(state)));
}

AggregatorServer::~AggregatorServer() { Stop(); }

const std::string& AggregatorServer::federation_address() const { return state_->rooms->federation_address; }
const std::string& AggregatorServer::enrolment_address() const { return state_->rooms->enrolment_address; }

absl::StatusOr<std::string> AggregatorServer::CreateToken(const std::string& site_name, std::chrono::seconds lifetime) {
  return state_->enrolment->CreateToken(site_name, lifetime, enrolment_address(), "local");
}

void AggregatorServer::LookAgain() { state_->certificate->MakeAnew(); }

void AggregatorServer::Stop() {
  const auto deadline = std::chrono::system_clock::now() + std::chrono::milliseconds(500);
  for (auto* server : {&state_->enrolment_server, &state_->federation_server}) {
    if (*server != nullptr) (*server)->Shutdown(deadline);
  }
}

absl::StatusOr<std::string> CreateTokenOffline(const AggregatorOptions& options, const std::string& site_name,
                                               std::chrono::seconds lifetime) {
  const std::filesystem::path file = options.state_dir / "addresses.json";
  const absl::StatusOr<std::string> text = ReadFile(file, 1 << 16);
  if (!text.ok()) return ConfigurationError(file.string() + ": not there yet; start the aggregator once");
  FEDGLM_ASSIGN_OR_RETURN(const Json addresses, ParseJson(*text, file.string()));
  FEDGLM_ASSIGN_OR_RETURN(const std::string enrolment_address, RequireString(addresses, "enrolment"));
  FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, OpenStore(options.state_dir));
  FEDGLM_ASSIGN_OR_RETURN(const CertificateAuthority authority,
                          CertificateAuthority::Open(options.state_dir, options.federation, Clock::System()));
  SignCheckpoints(*store, authority);
  Enrolment enrolment(options, *store, authority, Clock::System());
  return enrolment.CreateToken(site_name, lifetime, enrolment_address, "local");
}

}  // namespace fedglm
