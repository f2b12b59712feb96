#include "bench/federation/simulated_federation.h"

#include <unistd.h>

#include <algorithm>
#include <sstream>
#include <thread>
#include <utility>

#include "adapter/adapter.h"
#include "adapter/tensors.h"
#include "adapter/update_form.h"
#include "aggregator/membership/certificate_authority.h"
#include "aggregator/store/store.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"
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

// One line of /proc/PID/…; the values after `key`.
absl::StatusOr<std::string> ProcLine(pid_t pid, const std::string& file, const std::string& key) {
  const std::string path = "/proc/" + std::to_string(pid) + "/" + file;
  FEDGLM_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, 1 << 16));
  const size_t at = text.find(key);
  if (at == std::string::npos) return FailedError(path + ": no '" + key + "'");
  return text.substr(at + key.size(), text.find('\n', at) - at - key.size());
}

}  // namespace

absl::StatusOr<SimulatedFederation> SimulatedFederation::Start(const FederationShape& shape) {
  FEDGLM_ASSIGN_OR_RETURN(TemporaryDirectory folder, TemporaryDirectory::Make());
  SimulatedFederation federation(std::move(folder));
  FEDGLM_RETURN_IF_ERROR(federation.Found(shape));
  FEDGLM_RETURN_IF_ERROR(federation.StartAggregator());
  return federation;
}

absl::Status SimulatedFederation::Found(const FederationShape& shape) {
  AdapterConfig config;
  config.rank = 4;
  config.alpha = 8;
  Adapter adapter = MakeSeededAdapter(
      config, {{"model.layers.0.self_attn.q_proj", shape.update_values / config.rank, 64}}, /*seed=*/7);
  base_sha256_ = std::string(64, 'b');
  adapter.provenance = Provenance{base_sha256_};
  TensorMap update = TensorsOf(adapter, UpdateForm::kChangeOfB);
  for (auto& [name, tensor] : update) std::fill(tensor.values.begin(), tensor.values.end(), 0.01F);
  update_ = SerializeTensors(update);
  update_sha256_ = Sha256Hex(update_);
  const std::filesystem::path folder = folder_.path();
  FEDGLM_RETURN_IF_ERROR(SaveAdapter(adapter, folder / "initial"));
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(folder / "aggregator.toml", Toml(shape, folder)));
  FEDGLM_ASSIGN_OR_RETURN(const CertificateAuthority authority,
                          CertificateAuthority::Open(folder / "state", kName, Clock::System()));
  ca_ = authority.certificate_pem();
  FEDGLM_ASSIGN_OR_RETURN(key_, GenerateTlsKey());
  FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, Store::Open(folder / "state/state.sqlite"));
  return store->Transaction([&]() -> absl::Status {
    for (int64_t i = 0; i < shape.sites; ++i) {
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

absl::Status SimulatedFederation::StartAggregator() {
  SpawnOptions spawn;
  spawn.arguments = {(ExecutableDirectory() / "fedglm-aggregator").string(), "--config",
                     (folder_.path() / "aggregator.toml").string()};
  FEDGLM_ASSIGN_OR_RETURN(Process process, Process::Spawn(spawn));
  aggregator_ = std::make_unique<Process>(std::move(process));
  const std::filesystem::path addresses = folder_.path() / "state/addresses.json";
  for (int tries = 0; tries < 600 && aggregator_->Running() && !StopRequested(); ++tries) {
    if (const absl::StatusOr<std::string> text = ReadFile(addresses, 1 << 16); text.ok()) {
      FEDGLM_ASSIGN_OR_RETURN(const Json json, ParseJson(*text, addresses.string()));
      FEDGLM_ASSIGN_OR_RETURN(address_, RequireString(json, "federation"));
      return absl::OkStatus();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return FailedError("fedglm-aggregator does not start");
}

absl::Status SimulatedFederation::AwaitPresent(int64_t sites) {
  FEDGLM_ASSIGN_OR_RETURN(const std::unique_ptr<AdministrationClient> client,
                          AdministrationClient::Open(folder_.path() / "state/admin", address_));
  for (int tries = 0; tries < 3000; ++tries) {
    if (StopRequested()) return CancelledError("stopped");
    FEDGLM_ASSIGN_OR_RETURN(const v1::FederationStatus status, client->Status());
    if (status.sites_present() >= sites) return absl::OkStatus();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return FailedError("not all sites are there after five minutes");
}

absl::StatusOr<double> SimulatedFederation::CpuSeconds() const {
  // utime and stime are the 12th and 13th value after the name (proc(5)).
  FEDGLM_ASSIGN_OR_RETURN(const std::string line, ProcLine(aggregator_->pid(), "stat", ") "));
  std::istringstream values(line);
  std::string skipped;
  for (int i = 0; i < 11; ++i) values >> skipped;
  double user = 0, system = 0;
  values >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

absl::StatusOr<uint64_t> SimulatedFederation::PeakRssBytes() const {
  FEDGLM_ASSIGN_OR_RETURN(const std::string kib, ProcLine(aggregator_->pid(), "status", "VmHWM:"));
  return std::stoull(kib) << 10;
}

}  // namespace fedglm::bench
