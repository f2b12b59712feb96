// TLS of the aggregator's ports: each handshake shows the certificate of that moment.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>

#include "aggregator/membership/server_certificate.h"

namespace fedglm {

// TLS 1.3 only, in the whole process. Before gRPC's first use in it.
void RequireTls13();

enum class ClientCertificates { kNone, kRequired };

// `authority` is whose certificates are taken from clients. `certificate` and what this returns outlive every server
// with them. For one port.
std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(ServerCertificate& certificate,
                                                               const CaCertificatePem& authority,
                                                               ClientCertificates clients);

}  // namespace fedglm
