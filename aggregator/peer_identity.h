// Who is calling, as the certificate of the connection says.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <string>

#include "aggregator/store/store.h"
#include "base/status.h"

namespace fedglm {

// A site, by the certificate that it shows.
struct Caller {
  std::string site_id, serial;
  std::chrono::system_clock::time_point not_after;
};

// The site of a call over mutual TLS. Refused as CheckMember says, or if there is no certificate. A next certificate
// that is shown is the site's only one from now on.
absl::StatusOr<Caller> CallingSite(const grpc::ServerContextBase& context, Store& store);

// Refused if the caller is not enrolled, was revoked, or shows another certificate than its present one or its next one
// (aggregator/membership/renewal.h), or one that has expired. Asked on every call and, in long ones, again and again:
// gRPC looks at a certificate at the handshake only, and a connection may live for months.
absl::Status CheckMember(const Caller& caller, const Store& store);

// The administrator's name ("admin:…"). Refused for everybody else.
absl::StatusOr<std::string> CallingAdministrator(const grpc::ServerContextBase& context);

// Abseil's codes are gRPC's.
grpc::Status ToGrpc(const absl::Status& status);

}  // namespace fedglm
