#include "aggregator/rounds/publisher.h"

#include "adapter/adapter_bytes.h"
#include "base/digest.h"
#include "base/file.h"

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
  return artifacts_.PutStreamed([&](const ByteSink& sink) { return WriteAdapter(adapter, sink); });
}

absl::StatusOr<Adapter> Publisher::Read(const std::string& sha256) const {
  FEDGLM_ASSIGN_OR_RETURN(const MappedFile file, artifacts_.Map(sha256));
  absl::StatusOr<Adapter> adapter = ParseAdapter(AsText(file.bytes()));
  FEDGLM_RETURN_IF_ERROR(file.CheckIntact());
  return adapter;
}

}  // namespace fedglm
