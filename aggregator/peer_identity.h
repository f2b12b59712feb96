// Who is calling, as the certificate of the connection says.
#pragma once

#include <grpcpp/grpcpp.h>

#include <string>

#include "aggregator/store/store.h"
#include "base/status.h"

namespace fedglm {

// The site of a call over mutual TLS. Refused if it is not enrolled, was revoked, or shows another certificate than its
// last one, or one that has expired. Asked on every call and, in long transfers, again and again: gRPC looks at a
// certificate at the handshake only, and a connection may live for months.
absl::StatusOr<NodeRow> CallingSite(const grpc::ServerContext& context, Store& store);

// The administrator's name ("admin:…"). Refused for everybody else.
absl::StatusOr<std::string> CallingAdministrator(const grpc::ServerContext& context);

// Abseil's codes are gRPC's.
grpc::Status ToGrpc(const absl::Status& status);

}  // namespace fedglm
