// An aggregator as a process of its own, with as many members as wanted: what one machine can hold of a federation.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/pem.h"
#include "base/process.h"
#include "base/status.h"

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
  // Founds it in a temporary folder, makes all sites members and starts `fedglm-aggregator` beside this program.
  static absl::StatusOr<SimulatedFederation> Start(const FederationShape& shape);

  const std::string& address() const { return address_; }
  const CaCertificatePem& ca_pem() const { return ca_; }
  const TlsKeyPem& key_pem() const { return key_; }
  const std::vector<SimulatedMember>& members() const { return members_; }
  const std::string& base_sha256() const { return base_sha256_; }
  const std::string& update() const { return update_; }  // what every site sends, a safetensors file
  const std::string& update_sha256() const { return update_sha256_; }

  // Until the aggregator has heard of so many sites. Failed after five minutes.
  absl::Status AwaitPresent(int64_t sites);

  // Of the aggregator until now.
  absl::StatusOr<double> CpuSeconds() const;
  absl::StatusOr<uint64_t> PeakRssBytes() const;

 private:
  explicit SimulatedFederation(TemporaryDirectory folder) : folder_(std::move(folder)) {}
  absl::Status Found(const FederationShape& shape);
  absl::Status StartAggregator();
  TemporaryDirectory folder_;
  std::string address_, base_sha256_, update_, update_sha256_;
  CaCertificatePem ca_;
  TlsKeyPem key_;
  std::vector<SimulatedMember> members_;
  std::unique_ptr<Process> aggregator_;
};

}  // namespace fedglm::bench
