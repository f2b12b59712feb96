// gRPC's statuses as this project's: its codes are Abseil's. Private to this folder.
#pragma once

#include <grpcpp/grpcpp.h>

#include "base/status.h"

namespace fedglm {

// Refused: the peer says so, or the TLS handshake failed. Unreachable: worth a retry.
absl::Status FromGrpc(const grpc::Status& status, const std::string& address);

// gRPC writes of every failed handshake to stderr; errors that matter come back as a status. For the whole process.
void SilenceGrpc();

}  // namespace fedglm
