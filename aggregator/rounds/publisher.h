// Adapters as the federation publishes them: signed for their round, and kept under their digest.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "adapter/adapter.h"
#include "aggregator/membership/certificate_authority.h"
#include "aggregator/options/aggregator_options.h"
#include "aggregator/store/artifacts.h"
#include "base/status.h"

namespace fedglm {

// Thread-safe; what it is given outlives it.
class Publisher {
 public:
  Publisher(const AggregatorOptions& options, const Artifacts& artifacts, const CertificateAuthority& authority)
      : options_(options), artifacts_(artifacts), authority_(authority) {}

  // The digest. `adapter`'s provenance becomes that of the published one. `contributors`: the updates it was made of.
  absl::StatusOr<std::string> Publish(Adapter& adapter, const std::string& base_sha256, int64_t round,
                                      std::vector<std::string> contributors) const;
  absl::StatusOr<Adapter> Read(const std::string& sha256) const;

 private:
  const AggregatorOptions& options_;
  const Artifacts& artifacts_;
  const CertificateAuthority& authority_;
};

}  // namespace fedglm
