// The three gRPC services: they read messages, ask the rooms behind them, and write messages. No decision is made here.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "aggregator/membership/enrolment.h"
#include "aggregator/rounds/round_machine.h"
#include "aggregator/store/artifacts.h"
#include "aggregator/store/store.h"
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
  std::string federation_address, enrolment_address;  // as sites are to dial them; constant once `started`
  std::atomic<bool> started = false;
};

std::unique_ptr<v1::Enrolment::Service> MakeEnrolmentService(const ServiceRooms& rooms);
std::unique_ptr<v1::Federation::Service> MakeFederationService(const ServiceRooms& rooms);
std::unique_ptr<v1::Administration::Service> MakeAdministrationService(const ServiceRooms& rooms);

}  // namespace fedglm
