// For the tests of aggregator/: a small adapter, hand-made updates, and the rooms of an aggregator without a network.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <future>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "adapter/adapter.h"
#include "adapter/tensors.h"
#include "aggregator/membership/certificate_authority.h"
#include "aggregator/options/aggregator_options.h"
#include "aggregator/rounds/round_machine.h"
#include "aggregator/store/artifacts.h"
#include "aggregator/store/store.h"
#include "aggregator/updates/spool.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"

namespace fedglm {

inline const std::string kBaseSha256(64, 'b');

// The value, or a failed test that says why.
template <typename T>
T Get(absl::StatusOr<T> value) {
  if (!value.ok()) {
    ADD_FAILURE() << Message(value.status());
    std::abort();  // what follows would have nothing to look at
  }
  return *std::move(value);
}

// A folder in memory where the machine has one: what is tested is what is written and when, and a sync to a disk takes
// ten milliseconds.
inline TemporaryDirectory MakeFolder() {
  if (access("/dev/shm", W_OK) == 0) setenv("TMPDIR", "/dev/shm", 0);
  return Get(TemporaryDirectory::Make());
}

inline Adapter SmallAdapter() {
  AdapterConfig config;
  config.rank = 2;
  config.alpha = 4;
  Adapter adapter = MakeSeededAdapter(
      config, {{"model.layers.0.self_attn.q_proj", 5, 6}, {"model.layers.0.self_attn.v_proj", 5, 3}}, 7);
  adapter.provenance = Provenance{kBaseSha256};
  return adapter;
}

// Random values in the shapes that `mode` asks for.
inline TensorMap RandomUpdate(const Adapter& global, UpdateForm mode, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  TensorMap update = TensorsOf(global, mode);
  for (auto& [name, tensor] : update) {
    for (float& value : tensor.values) value = normal(generator);
  }
  return update;
}

// A clock that starts now: certificates that are made by it are good for TLS as well.
inline std::unique_ptr<ManualClock> ClockFromNow() {
  return std::make_unique<ManualClock>(std::chrono::system_clock::now());
}

inline AggregatorOptions SmallOptions(const std::filesystem::path& folder) {
  AggregatorOptions options;
  options.federation = "test";
  options.rounds = 2;
  options.min_sites = 2;
  options.min_updates = 1;
  options.round_timeout_seconds = 60;
  options.initial_adapter = folder / "initial";
  options.state_dir = folder / "state";
  options.listen = "127.0.0.1:0";
  options.enrolment_listen = "127.0.0.1:0";
  EXPECT_TRUE(SaveAdapter(SmallAdapter(), options.initial_adapter).ok());
  return options;
}

// The rooms below the services, over a state folder. Close() and Open() again stand for a restart.
class Rooms {
 public:
  Rooms(AggregatorOptions options, const CertificateAuthority& authority, Clock& clock)
      : options_(std::move(options)), authority_(authority), clock_(clock) {
    OpenStore();
    Open();
  }

  void OpenStore() {
    EXPECT_TRUE(MakeDirectories(options_.state_dir).ok());
    store_ = Get(Store::Open(options_.state_dir / "state.sqlite"));
    spool_ = Get(Spool::Open(options_.state_dir / "spool"));
    artifacts_ = std::make_unique<Artifacts>(Get(Artifacts::Open(options_.state_dir / "artifacts")));
    states_ = std::make_unique<Artifacts>(Get(Artifacts::Open(options_.state_dir / "strategy")));
  }
  absl::Status TryOpen() {
    auto machine = RoundMachine::Open(options_, *store_, *artifacts_, *states_, *spool_, authority_, clock_);
    if (!machine.ok()) return machine.status();
    machine_ = *std::move(machine);
    return absl::OkStatus();
  }
  void Open() {
    const absl::Status status = TryOpen();
    ASSERT_TRUE(status.ok()) << Message(status);
  }
  void Close() { machine_.reset(); }
  void Restart() {
    Close();
    spool_.reset();
    store_.reset();
    OpenStore();
    Open();
  }

  void Enrol(const std::string& site) {
    NodeRow node;
    node.site_id = site;
    node.serial = "01";
    node.certificate_pem = CertificatePem("-");
    ASSERT_TRUE(store_->PutNode(node).ok());
  }

  Work Ask(const std::string& site, int64_t installed_round, int64_t wait_ms = 60000, int64_t records = 10) {
    const std::chrono::milliseconds wait(wait_ms);
    SitePosition position;
    position.installed_round = installed_round;
    position.training_records = records;
    return Get(Answer(site, position, wait));
  }
  // What the site is told, sooner or later.
  absl::StatusOr<Work> Answer(const std::string& site, const SitePosition& position, std::chrono::milliseconds wait) {
    std::promise<absl::StatusOr<Work>> told;
    machine_->AwaitWork(site, position, wait, [&](absl::StatusOr<Work> work) { told.set_value(std::move(work)); });
    return told.get_future().get();
  }
  // At once.
  Work AskAs(const std::string& site, const SitePosition& position) {
    return Get(Answer(site, position, std::chrono::milliseconds(0)));
  }
  TrainWork Train(const std::string& site, int64_t installed_round) {
    const Work work = Ask(site, installed_round);
    EXPECT_TRUE(std::holds_alternative<TrainWork>(work)) << site << " got work " << work.index();
    return std::holds_alternative<TrainWork>(work) ? std::get<TrainWork>(work) : TrainWork{};
  }
  InstallWork Install(const std::string& site, int64_t installed_round) {
    const Work work = Ask(site, installed_round);
    EXPECT_TRUE(std::holds_alternative<InstallWork>(work)) << site << " got work " << work.index();
    return std::holds_alternative<InstallWork>(work) ? std::get<InstallWork>(work) : InstallWork{};
  }

  UpdateClaim ClaimOf(const TrainWork& work, const std::string& bytes, int64_t examples) const {
    UpdateClaim claim;
    claim.update_id = work.update_id;
    claim.base_sha256 = kBaseSha256;
    claim.adapter_sha256 = work.adapter_sha256;
    claim.mode = UpdateFormName(options_.mode);
    claim.sha256 = Sha256Hex(bytes);
    claim.round = work.round;
    claim.examples = examples;
    claim.bytes = bytes.size();
    claim.training_loss = 1.5;
    return claim;
  }
  void Write(const std::string& update_id, uint64_t offset, std::string_view bytes) {
    const auto writer = Get(spool_->Begin(update_id, offset));
    ASSERT_TRUE(writer->Append(bytes).ok());
  }
  UpdateRow Send(const std::string& site, const TrainWork& work, const TensorMap& update, int64_t examples) {
    const std::string bytes = SerializeTensors(update);
    Write(work.update_id, 0, bytes);
    return Get(machine_->DecideUpdate(site, ClaimOf(work, bytes, examples)));
  }

  Adapter Published(const std::string& sha256) { return Get(ParseAdapter(Get(artifacts_->Read(sha256)))); }

  const AggregatorOptions& options() const { return options_; }
  Store& store() { return *store_; }
  Spool& spool() { return *spool_; }
  Artifacts& artifacts() { return *artifacts_; }
  Artifacts& states() { return *states_; }
  RoundMachine& machine() { return *machine_; }
  AggregatorOptions& mutable_options() { return options_; }

 private:
  AggregatorOptions options_;
  const CertificateAuthority& authority_;
  Clock& clock_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Spool> spool_;
  std::unique_ptr<Artifacts> artifacts_, states_;
  std::unique_ptr<RoundMachine> machine_;
};

}  // namespace fedglm
