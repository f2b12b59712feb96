// A federation with as many members as wanted: what one machine can hold of one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/pem.h"
#include "base/status.h"
#include "bench/federation/server_process.h"

namespace fedglm::bench {

struct FederationShape {
  int64_t sites = 10, rounds = 3;
  int64_t update_values = 4096;  // of an update, in float32
};

// Who a simulated site is: its certificate; all share one key.
struct SimulatedMember {
  std::string site_id;
  CertificatePem certificate_pem;
};

class SimulatedFederation {
 public:
  // Founds it in a temporary folder and makes all sites members.
  static absl::StatusOr<SimulatedFederation> Found(const FederationShape& shape);
  // `fedglm-aggregator`, or its peer `bare-grpc`, which are beside this program. The federation outlives them.
  absl::StatusOr<ServerProcess> StartAggregator() const;
  absl::StatusOr<ServerProcess> StartBare() const;

  const CaCertificatePem& ca_pem() const { return ca_; }
  const TlsKeyPem& key_pem() const { return key_; }
  const std::vector<SimulatedMember>& members() const { return members_; }
  const std::string& base_sha256() const { return base_sha256_; }
  const std::string& update() const { return update_; }  // what every site sends, a safetensors file
  const std::string& update_sha256() const { return update_sha256_; }
  uint64_t adapter_bytes() const { return adapter_bytes_; }

  // Until the aggregator has heard of so many sites. Failed after five minutes.
  absl::Status AwaitPresent(const ServerProcess& aggregator, int64_t sites) const;

 private:
  explicit SimulatedFederation(TemporaryDirectory folder) : folder_(std::move(folder)) {}
  absl::Status Make(const FederationShape& shape);
  absl::Status Enrol(int64_t sites);
  TemporaryDirectory folder_;
  std::string base_sha256_, update_, update_sha256_;
  uint64_t adapter_bytes_ = 0;
  int64_t rounds_ = 0;
  CaCertificatePem ca_;
  TlsKeyPem key_;
  std::vector<SimulatedMember> members_;
};

}  // namespace fedglm::bench
