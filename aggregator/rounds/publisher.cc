#include "aggregator/rounds/publisher.h"

namespace fedglm {

absl::StatusOr<std::string> Publisher::Publish(Adapter& adapter, const std::string& base_sha256, int64_t round,
                                               std::vector<std::string> contributors) const {
  Provenance provenance;
  provenance.base_sha256 = base_sha256;
  provenance.federation = options_.federation;
  provenance.round = round;
  provenance.mode = UpdateFormName(options_.mode);
  provenance.contributors = std::move(contributors);
  provenance.weights_sha256 = WeightsSha256(adapter);
  FEDGLM_ASSIGN_OR_RETURN(provenance.signature, authority_.SignAdapter(SignedBytes(adapter.config, provenance)));
  adapter.provenance = std::move(provenance);
  return artifacts_.Put(SerializeAdapter(adapter));
}

absl::StatusOr<Adapter> Publisher::Read(const std::string& sha256) const {
  FEDGLM_ASSIGN_OR_RETURN(const std::string bytes, artifacts_.Read(sha256));
  return ParseAdapter(bytes);
}

}  // namespace fedglm
