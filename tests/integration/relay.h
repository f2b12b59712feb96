// A man in the middle between the sites and the aggregator. It forwards connections both ways, may hold what a site
// sends, and, given the keys, ends TLS on both sides and keeps everything that passes in plain text.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/pem.h"
#include "base/status.h"

namespace fedglm {

struct KeyAndCertificate {
  TlsKeyPem key_pem;
  CertificatePem certificate_pem;
};

struct RelayKeys {
  CaCertificatePem ca_pem;   // whose certificates both sides show
  KeyAndCertificate server;  // shown to sites, in the aggregator's place
  bool client_certificates = false;
  // Shown to the aggregator in the place of the site of this name.
  std::function<absl::StatusOr<KeyAndCertificate>(const std::string& site)> identity_of;
};

// What passed on one connection, in plain text.
struct RelayedConnection {
  std::string site;  // the common name of its certificate; empty: it showed none
  std::string to_aggregator, to_site;
};

class Relay {
 public:
  // Listens on 127.0.0.2:`port` and forwards to 127.0.0.1:`port`. Without `keys` bytes pass as they are.
  static absl::StatusOr<std::unique_ptr<Relay>> Start(const std::string& port, std::shared_ptr<const RelayKeys> keys);
  ~Relay();  // cuts every connection

  // The first connection on which a site has sent `bytes` is held: no more bytes pass on it, either way. It stays held
  // until Release(), which lets everything pass from then on.
  void HoldAfter(uint64_t bytes);
  // As HoldAfter, but only what the aggregator answers is held.
  void HoldAnswersAfter(uint64_t bytes);
  bool Holding() const;
  void Release();

  std::vector<RelayedConnection> Recorded() const;
  std::vector<std::string> Errors() const;  // handshakes that failed

 private:
  struct State;
  explicit Relay(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

// One gRPC message that passed.
struct GrpcMessage {
  bool compressed = false;
  std::string bytes;
};
// The messages in one direction of a connection, stream by stream: HTTP/2's DATA frames put together (RFC 9113, 4.1 and
// 6.1), cut by gRPC's own prefix. A message that did not pass whole is there as far as it came.
std::vector<GrpcMessage> GrpcMessagesOf(const std::string& direction, bool from_client);

}  // namespace fedglm
