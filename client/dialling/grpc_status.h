// gRPC's statuses as this project's: its codes are Abseil's. Private to this folder.
#pragma once

#include <grpcpp/grpcpp.h>

#include "base/status.h"

namespace fedglm {

// Refused: the peer says so, or the TLS handshake failed. Unreachable: worth a retry.
absl::Status FromGrpc(const grpc::Status& status, const std::string& address);

}  // namespace fedglm
