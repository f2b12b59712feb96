// How this project's clients dial: TLS, the question whether the other end is still there, and proxies.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>

#include "base/pem.h"

namespace fedglm {

struct Trust {
  CaCertificatePem authorities;  // whom the server's certificate must come from: one or more
  TlsKeyPem key;                 // of the certificate that is shown; empty: none is
  CertificatePem certificate;
};

// gRPC's own pauses between two attempts to connect, and how long one may take; 0: as gRPC likes.
struct Reconnect {
  std::chrono::milliseconds first{0}, longest{0}, attempt{0};
};

// A channel of its own: a new one begins anew. It goes through the proxy that the environment names for this address
// (proxy.h). Does not connect yet. `most_message_bytes` 0: as gRPC likes.
std::shared_ptr<grpc::Channel> Dial(const std::string& address, const Trust& trust, const Reconnect& reconnect = {},
                                    int most_message_bytes = 0);

// For the log, after an address: through which proxy it is dialled. Empty: through none.
std::string ProxyInWords(const std::string& address);

}  // namespace fedglm
