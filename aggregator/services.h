// The three gRPC services: they read messages, ask the rooms behind them, and write messages. No decision is made here.
// Sites' calls hold no thread while they wait; administrators have threads of their own.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "aggregator/membership/enrolment.h"
#include "aggregator/open_calls.h"
#include "aggregator/rounds/round_machine.h"
#include "aggregator/store/artifacts.h"
#include "aggregator/store/store.h"
#include "aggregator/task_pool.h"
#include "aggregator/updates/spool.h"
#include "fedglm/v1/administration.grpc.pb.h"
#include "fedglm/v1/enrolment.grpc.pb.h"
#include "fedglm/v1/federation.grpc.pb.h"

namespace fedglm {

// What the services share; all of it outlives them.
struct ServiceRooms {
  const AggregatorOptions& options;
  Store& store;
  const Artifacts& artifacts;
  Spool& spool;
  const CertificateAuthority& authority;
  Enrolment& enrolment;
  RoundMachine& rounds;
  OpenCalls& calls;
  TaskPool& tasks;                                    // of sites' calls
  TaskPool& decisions;                                // on updates, which take as long as they are large
  std::string federation_address, enrolment_address;  // as sites are to dial them; constant once `started`
  std::atomic<bool> started = false;
};

std::unique_ptr<v1::Enrolment::Service> MakeEnrolmentService(const ServiceRooms& rooms);
std::unique_ptr<v1::Federation::CallbackService> MakeFederationService(const ServiceRooms& rooms);
std::unique_ptr<v1::Administration::Service> MakeAdministrationService(const ServiceRooms& rooms);

// The long calls of the federation service. They answer an error by themselves.
grpc::ServerUnaryReactor* AnswerWithWork(const ServiceRooms& rooms, const grpc::CallbackServerContext& context,
                                         const v1::NextTaskRequest& request, v1::Task* task);
grpc::ServerReadReactor<v1::UploadRequest>* ReceiveUpload(const ServiceRooms& rooms,
                                                          const grpc::CallbackServerContext& context,
                                                          v1::UploadReceipt* receipt);
grpc::ServerWriteReactor<v1::DownloadChunk>* SendArtifact(const ServiceRooms& rooms,
                                                          grpc::CallbackServerContext& context,
                                                          const v1::DownloadRequest& request);

// Whose call it is, counted. What ends the call from outside is `reactor`'s End.
template <typename Reactor>
absl::StatusOr<std::unique_ptr<OpenCall>> BeginCall(const ServiceRooms& rooms,
                                                    const grpc::CallbackServerContext& context, CallKind kind,
                                                    std::weak_ptr<Reactor> reactor) {
  FEDGLM_ASSIGN_OR_RETURN(Caller caller, CallingSite(context, rooms.store));
  return rooms.calls.Begin(std::move(caller), kind, [&tasks = rooms.tasks, reactor](const absl::Status& status) {
    tasks.Post([reactor, status] {
      if (const std::shared_ptr<Reactor> open = reactor.lock()) open->End(status);
    });
  });
}

}  // namespace fedglm
