#include "bench/federation/simulated_federation.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "adapter/adapter.h"
#include "adapter/tensors.h"
#include "adapter/update_form.h"
#include "aggregator/membership/certificate_authority.h"
#include "aggregator/store/store.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/process.h"
#include "base/tls.h"
#include "client/administration_client.h"

namespace fedglm::bench {
namespace {

constexpr char kName[] = "simulated";

std::string Toml(const FederationShape& shape, const std::filesystem::path& folder) {
  return "[federation]\nname = \"" + std::string(kName) + "\"\nrounds = " + std::to_string(shape.rounds) +
         "\nmin_sites = " + std::to_string(shape.sites) +
         "\nmin_updates = " + std::to_string(std::min<int64_t>(shape.sites, 3)) + "\ninitial_adapter = \"" +
         (folder / "initial").string() +
         "\"\n[server]\nlisten = \"127.0.0.1:0\"\nenrolment_listen = \"127.0.0.1:0\"\nadvertise = \"127.0.0.1\"\n"
         "state_dir = \"" +
         (folder / "state").string() + "\"\n[log]\nlevel = \"warning\"\n";
}

// A small adapter is one module; a large one has as many as a model has, each of the size that they have there.
std::vector<ModuleShape> Modules(int64_t values, int64_t rank) {
  constexpr int64_t kValues = 1 << 15;
  std::vector<ModuleShape> modules;
  for (int64_t left = values; left > 0; left -= kValues) {
    modules.push_back({"model.layers." + std::to_string(modules.size()) + ".self_attn.q_proj", /*inputs=*/64,
                       std::max<int64_t>(1, std::min(left, kValues) / rank)});
  }
  return modules;
}

}  // namespace

absl::StatusOr<SimulatedFederation> SimulatedFederation::Found(const FederationShape& shape) {
  FEDGLM_ASSIGN_OR_RETURN(TemporaryDirectory folder, TemporaryDirectory::Make());
  SimulatedFederation federation(std::move(folder));
  FEDGLM_RETURN_IF_ERROR(federation.Make(shape));
  FEDGLM_RETURN_IF_ERROR(federation.Enrol(shape.sites));
  return federation;
}

absl::Status SimulatedFederation::Make(const FederationShape& shape) {
  rounds_ = shape.rounds;
  AdapterConfig config;
  config.rank = 4;
  config.alpha = 8;
  Adapter adapter = MakeSeededAdapter(config, Modules(shape.update_values, config.rank), /*seed=*/7);
  base_sha256_ = std::string(64, 'b');
  adapter.provenance = Provenance{base_sha256_};
  adapter_bytes_ = SerializeAdapter(adapter).size();
  TensorMap update = TensorsOf(adapter, UpdateForm::kChangeOfB);
  for (auto& [name, tensor] : update) std::fill(tensor.values.begin(), tensor.values.end(), 0.01F);
  update_ = SerializeTensors(update);
  update_sha256_ = Sha256Hex(update_);
  FEDGLM_RETURN_IF_ERROR(SaveAdapter(adapter, folder_.path() / "initial"));
  return WriteFileAtomically(folder_.path() / "aggregator.toml", Toml(shape, folder_.path()));
}

absl::Status SimulatedFederation::Enrol(int64_t sites) {
  const std::filesystem::path state = folder_.path() / "state";
  FEDGLM_ASSIGN_OR_RETURN(const CertificateAuthority authority,
                          CertificateAuthority::Open(state, kName, Clock::System()));
  ca_ = authority.certificate_pem();
  FEDGLM_ASSIGN_OR_RETURN(const CertificateAuthority::Identity server, authority.IssueServer({"127.0.0.1"}));
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(folder_.path() / "ca.pem", ca_.text()));
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(folder_.path() / "cert.pem", server.certificate_pem.text()));
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(folder_.path() / "key.pem", server.key_pem.secret_text(), 0600));
  FEDGLM_ASSIGN_OR_RETURN(key_, GenerateTlsKey());
  FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, Store::Open(state / "state.sqlite"));
  return store->Transaction([&]() -> absl::Status {
    for (int64_t i = 0; i < sites; ++i) {
      NodeRow node;
      node.site_id = "site-" + std::to_string(i);
      FEDGLM_ASSIGN_OR_RETURN(const std::string request, MakeCertificateRequest(key_, node.site_id));
      FEDGLM_ASSIGN_OR_RETURN(node.certificate_pem,
                              authority.IssueClient(request, node.site_id, std::chrono::hours(24)));
      FEDGLM_ASSIGN_OR_RETURN(const CertificateFacts facts, DescribeCertificate(node.certificate_pem));
      node.serial = facts.serial_hex;
      FEDGLM_RETURN_IF_ERROR(store->PutNode(node));
      members_.push_back({node.site_id, node.certificate_pem});
    }
    return absl::OkStatus();
  });
}

absl::StatusOr<ServerProcess> SimulatedFederation::StartAggregator() const {
  return ServerProcess::Start({(ExecutableDirectory() / "fedglm-aggregator").string(), "--config",
                               (folder_.path() / "aggregator.toml").string()},
                              folder_.path() / "state/addresses.json");
}

absl::StatusOr<ServerProcess> SimulatedFederation::StartBare() const {
  return ServerProcess::Start({(ExecutableDirectory() / "bare-grpc").string(), "--folder", folder_.path().string(),
                               "--rounds", std::to_string(rounds_), "--artifact-bytes", std::to_string(adapter_bytes_)},
                              folder_.path() / "bare.json");
}

absl::Status SimulatedFederation::AwaitPresent(const ServerProcess& aggregator, int64_t sites) const {
  FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<AdministrationClient> client,
                          AdministrationClient::Open(folder_.path() / "state/admin", aggregator.address()));
  for (int tries = 0; tries < 3000; ++tries) {
    if (StopRequested()) return CancelledError("stopped");
    FEDGLM_ASSIGN_OR_RETURN(const v1::FederationStatus status, client->Status());
    if (status.sites_present() >= sites) return absl::OkStatus();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return FailedError("not all sites are there after five minutes");
}

}  // namespace fedglm::bench
