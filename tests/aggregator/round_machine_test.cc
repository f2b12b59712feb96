#include "aggregator/round_machine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <future>
#include <limits>
#include <thread>

#include "base/tls.h"
#include "tests/aggregator/small_federation.h"

namespace fedglm {
namespace {

constexpr char kQ[] = "model.layers.0.self_attn.q_proj.lora_B";

class RoundMachineTest : public testing::Test {
 protected:
  std::unique_ptr<Rooms> Make(
      const std::function<void(AggregatorOptions&)>& change = [](AggregatorOptions&) {},
      const std::string& name = "federation") {
    AggregatorOptions options = SmallOptions(folder_.path() / name);
    change(options);
    return std::make_unique<Rooms>(options, authority_, *clock_);
  }
  // Round 1, in which all the sites are: they have asked before the machine starts.
  std::vector<TrainWork> BeginRound(Rooms& rooms, const std::vector<std::string>& sites) {
    rooms.Close();
    for (const std::string& site : sites) {
      rooms.Enrol(site);
      EXPECT_TRUE(rooms.store().TouchNode(site, UnixMilliseconds(clock_->Now()), 10, 0).ok());
    }
    rooms.Open();
    std::vector<TrainWork> work;
    for (const std::string& site : sites) work.push_back(rooms.Train(site, 0));
    return work;
  }
  TemporaryDirectory folder_ = MakeFolder();
  std::unique_ptr<ManualClock> clock_ = ClockFromNow();
  CertificateAuthority authority_ = Get(CertificateAuthority::Open(folder_.path() / "authority", "test", *clock_));
};

TEST_F(RoundMachineTest, ARoundOpensWhenEnoughSitesHaveAsked) {
  const auto rooms = Make([](AggregatorOptions& o) { o.min_sites = 3; });
  for (const char* site : {"a", "b", "c", "empty", "silent"}) rooms->Enrol(site);
  EXPECT_EQ(rooms->machine().Summary().state, "waiting");
  EXPECT_TRUE(std::holds_alternative<WaitWork>(rooms->Ask("a", 0, 0)));
  EXPECT_TRUE(std::holds_alternative<WaitWork>(rooms->Ask("b", 0, 0)));
  EXPECT_TRUE(std::holds_alternative<WaitWork>(rooms->Ask("empty", 0, 300, /*records=*/0)));
  EXPECT_EQ(rooms->machine().Summary().state, "waiting");
  const TrainWork work = rooms->Train("c", 0);
  EXPECT_EQ(work.round, 1);
  EXPECT_EQ(work.deadline_unix_ms, UnixMilliseconds(clock_->Now()) + 60000);
  const std::vector<UpdateRow> cohort = Get(rooms->store().UpdatesOf(1));
  ASSERT_EQ(cohort.size(), 3u);  // neither the site without records nor the one that never asked
  EXPECT_EQ(rooms->machine().Summary().state, "training");
  EXPECT_EQ(rooms->machine().Summary().updates_expected, 3);
  EXPECT_TRUE(std::holds_alternative<WaitWork>(rooms->Ask("silent", 0, 0)));  // too late for this round
}

TEST_F(RoundMachineTest, WorkComesInItsOrder) {
  const auto rooms = Make();
  rooms->Enrol("a");
  rooms->Enrol("b");
  // Nothing installed: the initial adapter first, signed and of the base.
  const InstallWork initial = rooms->Install("a", -1);
  EXPECT_EQ(initial.round, 0);
  EXPECT_FALSE(initial.last);
  const Adapter first = rooms->Published(initial.adapter_sha256);
  EXPECT_EQ(first.modules, SmallAdapter().modules);
  EXPECT_EQ(first.provenance->base_sha256, kBaseSha256);
  EXPECT_EQ(first.provenance->weights_sha256, WeightsSha256(first));
  EXPECT_TRUE(VerifySignature(authority_.signing_public_pem(), SignedBytes(first.config, *first.provenance),
                              Get(Base64UrlDecode(first.provenance->signature)))
                  .ok());
  rooms->Ask("b", 0, 0);
  for (int64_t round = 1; round <= 2; ++round) {
    const std::vector<TrainWork> work = {rooms->Train("a", round - 1), rooms->Train("b", round - 1)};
    EXPECT_EQ(work[0].round, round);
    EXPECT_NE(work[0].update_id, work[1].update_id);
    EXPECT_EQ(rooms->Train("a", round - 1).update_id, work[0].update_id);  // asked again: the same
    const Adapter global = rooms->Published(work[0].adapter_sha256);
    const TensorMap update = RandomUpdate(global, AggregationMode::kFreezeA, 1);
    EXPECT_EQ(rooms->Send("a", work[0], update, 5).state, UpdateState::kAccepted);
    EXPECT_TRUE(std::holds_alternative<WaitWork>(rooms->Ask("a", round - 1, 0)));  // done its part
    EXPECT_EQ(rooms->Send("b", work[1], update, 5).state, UpdateState::kAccepted);
    const InstallWork install = rooms->Install("a", round - 1);
    EXPECT_EQ(install.round, round);
    EXPECT_EQ(install.last, round == 2);
    EXPECT_EQ(rooms->Published(install.adapter_sha256).provenance->contributors.size(), 2u);
    EXPECT_EQ(rooms->Published(install.adapter_sha256).provenance->round, round);
    rooms->Install("b", round - 1);
  }
  EXPECT_EQ(std::get<FinishedWork>(rooms->Ask("a", 2)).round, 2);
  EXPECT_EQ(rooms->machine().Summary().state, "finished");
  EXPECT_TRUE(std::filesystem::is_empty(rooms->options().state_dir / "spool"));
}

TEST_F(RoundMachineTest, TheWeightsFollowTheNumberOfExamples) {
  const auto rooms = Make();
  const std::vector<TrainWork> work = BeginRound(*rooms, {"a", "b"});
  const Adapter global = rooms->Published(work[0].adapter_sha256);
  TensorMap one = TensorsOf(global, AggregationMode::kFreezeA), two = one;
  for (auto& [name, tensor] : one) std::fill(tensor.values.begin(), tensor.values.end(), 1.0f);
  for (auto& [name, tensor] : two) std::fill(tensor.values.begin(), tensor.values.end(), 2.0f);
  rooms->Send("a", work[0], one, 30);
  rooms->Send("b", work[1], two, 10);
  const Adapter result = rooms->Published(rooms->Install("a", 0).adapter_sha256);
  for (const auto& [name, pair] : result.modules) {
    EXPECT_EQ(pair.a, global.modules.at(name).a);
    for (const float value : pair.b.values) EXPECT_FLOAT_EQ(value, 1.25f);  // (30 * 1 + 10 * 2) / 40, on a B of zero
  }
}

TEST_F(RoundMachineTest, AnUpdateThatIsSentTwiceIsCountedOnce) {
  const auto rooms = Make();
  const std::vector<TrainWork> work = BeginRound(*rooms, {"a", "b"});
  const Adapter global = rooms->Published(work[0].adapter_sha256);
  const TensorMap update = RandomUpdate(global, AggregationMode::kFreezeA, 1);
  const UpdateRow first = rooms->Send("a", work[0], update, 5);
  const std::string bytes = SerializeTensors(update);
  const UpdateRow again = Get(rooms->machine().DecideUpdate("a", rooms->ClaimOf(work[0], bytes, 5)));
  EXPECT_EQ(again.state, UpdateState::kAccepted);
  EXPECT_EQ(again.sha256, first.sha256);
  // Not even with other content.
  EXPECT_EQ(Get(rooms->machine().DecideUpdate("a", rooms->ClaimOf(work[0], "other", 500))).sha256, first.sha256);
  EXPECT_EQ(Get(rooms->store().FindNode("a"))->bytes_received, static_cast<int64_t>(bytes.size()));
  rooms->Send("b", work[1], RandomUpdate(global, AggregationMode::kFreezeA, 2), 5);
  const InstallWork install = rooms->Install("a", 0);
  EXPECT_EQ(rooms->Published(install.adapter_sha256).provenance->contributors.size(), 2u);
  // Also after the round is closed.
  EXPECT_EQ(Get(rooms->machine().DecideUpdate("a", rooms->ClaimOf(work[0], bytes, 5))).state, UpdateState::kAccepted);
  EXPECT_EQ(Get(rooms->store().Audit(0, 100)).size(), 2u);
}

class Claims : public RoundMachineTest {
 protected:
  void SetUp() override {
    rooms_ = Make();
    work_ = BeginRound(*rooms_, {"a", "b"});
    global_ = rooms_->Published(work_[0].adapter_sha256);
    good_ = RandomUpdate(global_, AggregationMode::kFreezeA, 1);
  }
  void ExpectClaimRefused(const std::function<void(UpdateClaim&)>& change, const std::string& reason) {
    UpdateClaim claim = rooms_->ClaimOf(work_[0], SerializeTensors(good_), 5);
    change(claim);
    const absl::StatusOr<UpdateRow> row = rooms_->machine().CheckClaim("a", claim);
    EXPECT_EQ(ExitCodeOf(row.status()), ExitCode::kRefused) << reason;
    EXPECT_NE(Message(row.status()).find(reason), std::string::npos) << Message(row.status());
    EXPECT_EQ(ExitCodeOf(rooms_->machine().DecideUpdate("a", claim).status()), ExitCode::kRefused) << reason;
    EXPECT_EQ(Get(rooms_->store().FindUpdate(work_[0].update_id))->state, UpdateState::kExpected);
  }
  // Decided against, for good, with the reason.
  void ExpectContentRefused(const TensorMap& update, const std::string& reason) {
    const UpdateRow row = rooms_->Send("a", work_[0], update, 5);
    EXPECT_EQ(row.state, UpdateState::kRefused);
    EXPECT_NE(row.reason.find(reason), std::string::npos) << row.reason;
    EXPECT_EQ(rooms_->spool().Received(work_[0].update_id), 0u);
    EXPECT_EQ(Get(rooms_->store().Audit(0, 10)).back().action, "update refused");
    // The round goes on without it.
    rooms_->Send("b", work_[1], good_, 5);
    EXPECT_EQ(rooms_->Published(rooms_->Install("b", 0).adapter_sha256).provenance->contributors.size(), 1u);
  }
  std::unique_ptr<Rooms> rooms_;
  std::vector<TrainWork> work_;
  Adapter global_;
  TensorMap good_;
};

TEST_F(Claims, OfAnotherRoundBaseAdapterModeOrSizeAreRefused) {
  ExpectClaimRefused([](UpdateClaim& c) { c.round = 2; }, "another round");
  ExpectClaimRefused([](UpdateClaim& c) { c.base_sha256 = std::string(64, 'c'); }, "another base");
  ExpectClaimRefused([](UpdateClaim& c) { c.adapter_sha256 = std::string(64, 'c'); }, "another adapter");
  ExpectClaimRefused([](UpdateClaim& c) { c.mode = "stack"; }, "mode stack");
  ExpectClaimRefused([](UpdateClaim& c) { c.examples = 0; }, "no example");
  ExpectClaimRefused([](UpdateClaim& c) { c.examples = -3; }, "no example");
  ExpectClaimRefused([](UpdateClaim& c) { c.training_loss = std::nan(""); }, "loss");
  ExpectClaimRefused([](UpdateClaim& c) { c.bytes = 0; }, "0 bytes");
  ExpectClaimRefused([](UpdateClaim& c) { c.update_id = "../../etc/passwd"; }, "no such update");
  ExpectClaimRefused([&](UpdateClaim& c) { c.update_id = work_[1].update_id; }, "no such update");  // b's
}

// A weight like this would drown the others, and two of them overflow the sum.
TEST_F(Claims, OfMoreExamplesThanAnybodyHasAreRefused) {
  ExpectClaimRefused([](UpdateClaim& c) { c.examples = std::numeric_limits<int64_t>::max(); }, "more examples");
}

// The adapter says how large an honest update is; the configured limit is only an upper bound of it.
TEST_F(Claims, OfMoreBytesThanTheAdapterCanMakeAreRefused) {
  ASSERT_GT(rooms_->options().max_update_bytes, uint64_t{1} << 30);
  ExpectClaimRefused([](UpdateClaim& c) { c.bytes = 3 << 20; }, "limit");
}

TEST_F(Claims, WhatIsEchoedIsOneShortLine) {
  const std::string nasty = "x\n2026-01-01 all is well\x1b[2J" + std::string(100000, 'y');
  UpdateClaim claim = rooms_->ClaimOf(work_[0], SerializeTensors(good_), 5);
  claim.mode = nasty;
  const std::string reason = Message(rooms_->machine().CheckClaim("a", claim).status());
  EXPECT_LT(reason.size(), 400u);
  EXPECT_EQ(reason.find('\n'), std::string::npos);
  EXPECT_EQ(reason.find('\x1b'), std::string::npos);
  good_[nasty] = Matrix::Zero(1, 1);
  const UpdateRow row = rooms_->Send("a", work_[0], good_, 5);
  EXPECT_EQ(row.state, UpdateState::kRefused);
  EXPECT_LT(row.reason.size(), 400u);
  EXPECT_EQ(row.reason.find('\n'), std::string::npos);
}

TEST_F(Claims, AValueThatIsNotFiniteIsRefusedAndItsTensorNamed) {
  TensorMap update = good_;
  update[kQ].values[2] = std::numeric_limits<float>::quiet_NaN();
  ExpectContentRefused(update, kQ);
}

TEST_F(Claims, AnotherShapeIsRefusedAndItsTensorNamed) {
  TensorMap update = good_;
  std::swap(update[kQ].rows, update[kQ].columns);
  ExpectContentRefused(update, kQ);
}

TEST_F(Claims, TensorsOfAnotherModeAreRefused) {
  ExpectContentRefused(RandomUpdate(global_, AggregationMode::kStack, 3), "lora_A");
}

TEST_F(Claims, BytesThatAreNoTensorsAreRefused) {
  const std::string bytes = "these are no safetensors";
  rooms_->Write(work_[0].update_id, 0, bytes);
  const UpdateRow row = Get(rooms_->machine().DecideUpdate("a", rooms_->ClaimOf(work_[0], bytes, 5)));
  EXPECT_EQ(row.state, UpdateState::kRefused);
  EXPECT_NE(row.reason, "");
}

TEST_F(Claims, BytesOfAnotherDigestAreSentAgain) {
  const std::string bytes = SerializeTensors(good_);
  rooms_->Write(work_[0].update_id, 0, bytes.substr(0, bytes.size() - 1) + "!");
  const UpdateClaim claim = rooms_->ClaimOf(work_[0], bytes, 5);
  EXPECT_EQ(rooms_->machine().DecideUpdate("a", claim).status().code(), absl::StatusCode::kAborted);
  EXPECT_EQ(rooms_->spool().Received(work_[0].update_id), 0u);
  EXPECT_EQ(rooms_->Send("a", work_[0], good_, 5).state, UpdateState::kAccepted);
}

// What each site sends is finite, what it adds up to is not: nobody could load such an adapter.
TEST_F(Claims, ASumThatOverflowsLeavesTheAdapterAsItIs) {
  TensorMap huge = good_;
  for (auto& [name, tensor] : huge) std::fill(tensor.values.begin(), tensor.values.end(), 3e38f);
  EXPECT_EQ(rooms_->Send("a", work_[0], huge, 5).state, UpdateState::kAccepted);
  EXPECT_EQ(rooms_->Send("b", work_[1], huge, 5).state, UpdateState::kAccepted);
  const InstallWork first = rooms_->Install("a", 0);
  rooms_->Install("b", 0);
  const std::vector<TrainWork> second = {rooms_->Train("a", 1), rooms_->Train("b", 1)};
  rooms_->Send("a", second[0], huge, 5);
  rooms_->Send("b", second[1], huge, 5);
  const InstallWork last = rooms_->Install("a", 1);
  const Adapter adapter = rooms_->Published(last.adapter_sha256);
  EXPECT_EQ(adapter.modules, rooms_->Published(first.adapter_sha256).modules);
  EXPECT_TRUE(adapter.provenance->contributors.empty());
  rooms_->Restart();
  EXPECT_TRUE(std::holds_alternative<FinishedWork>(rooms_->Ask("a", 2)));
}

TEST_F(Claims, AnAcceptedUpdateThatTheDiskLostIsAskedForAgain) {
  rooms_->Send("a", work_[0], good_, 5);
  rooms_->Close();
  ASSERT_TRUE(WriteFileAtomically(rooms_->spool().Path(work_[0].update_id), "damaged").ok());
  rooms_->Open();
  rooms_->Send("b", work_[1], good_, 5);
  // The round does not close over the damage, and a is asked once more.
  EXPECT_EQ(rooms_->Train("a", 0).update_id, work_[0].update_id);
  rooms_->Send("a", work_[0], good_, 5);
  EXPECT_EQ(rooms_->Published(rooms_->Install("a", 0).adapter_sha256).provenance->contributors.size(), 2u);
}

TEST_F(RoundMachineTest, TheDeadlineClosesARoundWithoutLateSites) {
  const auto rooms = Make();
  const std::vector<TrainWork> work = BeginRound(*rooms, {"a", "b", "c"});
  const Adapter global = rooms->Published(work[0].adapter_sha256);
  const TensorMap update = RandomUpdate(global, AggregationMode::kFreezeA, 1);
  rooms->Send("a", work[0], update, 5);
  rooms->Write(work[1].update_id, 0, "half of it");
  EXPECT_TRUE(std::holds_alternative<WaitWork>(rooms->Ask("a", 0, 400)));
  clock_->Advance(std::chrono::seconds(61));
  const InstallWork install = rooms->Install("a", 0);
  EXPECT_EQ(rooms->Published(install.adapter_sha256).provenance->contributors.size(), 1u);
  const UpdateRow late = Get(rooms->machine().DecideUpdate("b", rooms->ClaimOf(work[1], SerializeTensors(update), 5)));
  EXPECT_EQ(late.state, UpdateState::kRefused);
  EXPECT_NE(late.reason.find("late"), std::string::npos);
  EXPECT_EQ(rooms->spool().Received(work[1].update_id), 0u);
  // Who was late is welcome in the next round.
  rooms->Ask("a", 1, 0);
  rooms->Ask("b", 1, 0);
  EXPECT_EQ(rooms->Train("b", 1).round, 2);
}

TEST_F(RoundMachineTest, AfterTheDeadlineARoundWaitsForItsLeastNumberOfUpdates) {
  const auto rooms = Make([](AggregatorOptions& o) { o.min_updates = 2; });
  const std::vector<TrainWork> work = BeginRound(*rooms, {"a", "b", "c"});
  const Adapter global = rooms->Published(work[0].adapter_sha256);
  rooms->Send("a", work[0], RandomUpdate(global, AggregationMode::kFreezeA, 1), 5);
  clock_->Advance(std::chrono::seconds(61));
  EXPECT_TRUE(std::holds_alternative<WaitWork>(rooms->Ask("a", 0, 600)));
  rooms->Send("b", work[1], RandomUpdate(global, AggregationMode::kFreezeA, 2), 5);  // late, and still needed
  EXPECT_EQ(rooms->Published(rooms->Install("a", 0).adapter_sha256).provenance->contributors.size(), 2u);
}

TEST_F(RoundMachineTest, ARoundOfRefusedUpdatesLeavesTheAdapterAsItIs) {
  const auto rooms = Make();
  const std::vector<TrainWork> work = BeginRound(*rooms, {"a", "b"});
  const Adapter global = rooms->Published(work[0].adapter_sha256);
  const TensorMap wrong = RandomUpdate(global, AggregationMode::kStack, 1);
  rooms->Send("a", work[0], wrong, 5);
  rooms->Send("b", work[1], wrong, 5);
  const Adapter result = rooms->Published(rooms->Install("a", 0).adapter_sha256);
  EXPECT_EQ(result.modules, global.modules);
  EXPECT_TRUE(result.provenance->contributors.empty());
  EXPECT_EQ(result.provenance->round, 1);
}

TEST_F(RoundMachineTest, RevokingASiteClosesTheGapItLeaves) {
  const auto rooms = Make();
  const std::vector<TrainWork> work = BeginRound(*rooms, {"a", "b", "c"});
  const Adapter global = rooms->Published(work[0].adapter_sha256);
  const TensorMap update = RandomUpdate(global, AggregationMode::kFreezeA, 1);
  rooms->Send("a", work[0], update, 5);
  rooms->Send("b", work[1], update, 5);
  EXPECT_TRUE(std::holds_alternative<WaitWork>(rooms->Ask("a", 0, 300)));
  ASSERT_TRUE(rooms->machine().Revoke("c", "stolen", "admin:first").ok());
  EXPECT_EQ(rooms->Published(rooms->Install("a", 0).adapter_sha256).provenance->contributors.size(), 2u);
  const UpdateRow row = Get(rooms->machine().DecideUpdate("c", rooms->ClaimOf(work[2], SerializeTensors(update), 5)));
  EXPECT_EQ(row.state, UpdateState::kRefused);
  EXPECT_NE(row.reason.find("revoked"), std::string::npos);
  const std::vector<AuditRow> audit = Get(rooms->store().Audit(0, 100));
  EXPECT_EQ(std::count_if(audit.begin(), audit.end(),
                          [](const AuditRow& e) {
                            return e.action == "node revoked" && e.subject == "c" && e.detail == "stolen" &&
                                   e.actor == "admin:first";
                          }),
            1);
  EXPECT_EQ(rooms->machine().Revoke("nowhere", "", "admin:first").code(), absl::StatusCode::kNotFound);
  // It is not in the next cohort, though it asks.
  for (const char* site : {"a", "b", "c"}) rooms->Ask(site, 1, 0);
  rooms->Train("a", 1);
  EXPECT_EQ(Get(rooms->store().UpdatesOf(2)).size(), 2u);
}

TEST_F(RoundMachineTest, EvaluationReportsAreChecked) {
  const auto rooms = Make();
  const std::vector<TrainWork> work = BeginRound(*rooms, {"a", "b"});
  RoundMachine& machine = rooms->machine();
  EXPECT_TRUE(machine.ReportEvaluation("a", 0, 2.5, 100).ok());
  EXPECT_EQ(ExitCodeOf(machine.ReportEvaluation("a", 1, 2.5, 100)), ExitCode::kRefused);  // open, not closed
  EXPECT_EQ(ExitCodeOf(machine.ReportEvaluation("a", -1, 2.5, 100)), ExitCode::kRefused);
  EXPECT_EQ(ExitCodeOf(machine.ReportEvaluation("a", 0, std::nan(""), 100)), ExitCode::kRefused);
  EXPECT_EQ(ExitCodeOf(machine.ReportEvaluation("a", 0, INFINITY, 100)), ExitCode::kRefused);
  EXPECT_EQ(ExitCodeOf(machine.ReportEvaluation("a", 0, -1, 100)), ExitCode::kRefused);
  EXPECT_EQ(ExitCodeOf(machine.ReportEvaluation("a", 0, 2.5, 0)), ExitCode::kRefused);
  const std::vector<EvaluationRow> rows = Get(rooms->store().EvaluationsOf(0));
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].loss, 2.5);
}

TEST_F(RoundMachineTest, ARejectedAdapterStandsInTheAuditLogOnceASiteAndRound) {
  const auto rooms = Make();
  const std::vector<TrainWork> work = BeginRound(*rooms, {"a", "b"});
  RoundMachine& machine = rooms->machine();
  EXPECT_EQ(ExitCodeOf(machine.ReportRejection("a", 1, "ab", "no")), ExitCode::kRefused) << "open, not closed";
  EXPECT_EQ(ExitCodeOf(machine.ReportRejection("a", -1, "ab", "no")), ExitCode::kRefused);
  for (int k = 0; k < 3; ++k) EXPECT_TRUE(machine.ReportRejection("a", 0, "0123456789abcdef", "bad\nsignature").ok());
  EXPECT_TRUE(machine.ReportRejection("b", 0, "0123456789abcdef", std::string(5000, 'x')).ok());
  std::vector<AuditRow> entries = Get(rooms->store().Audit(0, 1000));
  std::erase_if(entries, [](const AuditRow& entry) { return entry.action != "adapter rejected"; });
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].subject, "a");
  EXPECT_EQ(entries[0].detail, "round 0, adapter 0123456789ab: bad?signature");
  EXPECT_LT(entries[1].detail.size(), 400u);
}

TEST_F(RoundMachineTest, AnEvaluationThatFailedAtASiteIsNoRejectionAndStandsInTheAuditLogOnce) {
  const auto rooms = Make();
  const std::vector<TrainWork> work = BeginRound(*rooms, {"a", "b"});
  RoundMachine& machine = rooms->machine();
  EXPECT_EQ(ExitCodeOf(machine.ReportFailedEvaluation("a", 1)), ExitCode::kRefused) << "open, not closed";
  EXPECT_EQ(ExitCodeOf(machine.ReportFailedEvaluation("a", -1)), ExitCode::kRefused);
  for (int k = 0; k < 3; ++k) EXPECT_TRUE(machine.ReportFailedEvaluation("a", 0).ok());
  EXPECT_TRUE(machine.ReportRejection("a", 0, "0123456789abcdef", "no").ok()) << "one does not hide the other";
  std::vector<std::string> actions;
  for (const AuditRow& entry : Get(rooms->store().Audit(0, 1000))) {
    if (entry.subject == "a" && (entry.action == "evaluation failed" || entry.action == "adapter rejected")) {
      actions.push_back(entry.action);
    }
  }
  EXPECT_EQ(actions, (std::vector<std::string>{"evaluation failed", "adapter rejected"}));
  EXPECT_TRUE(Get(rooms->store().EvaluationsOf(0)).empty());
  EXPECT_TRUE(machine.ReportEvaluation("a", 0, 2.5, 100).ok()) << "and then it succeeded";
}

// Asks for the status whenever the machine's own thread reads the clock, and notes what was answered within a second:
// what that thread does with the lock held answers nobody.
class AskingClock : public Clock {
 public:
  std::chrono::system_clock::time_point Now() const override {
    RoundMachine* const asked = machine.load();
    if (asked != nullptr && std::this_thread::get_id() != test_) {
      questions_.push_back(std::async(std::launch::async, [asked] { return asked->Summary().state; }));
      const bool in_time = questions_.back().wait_for(std::chrono::seconds(1)) == std::future_status::ready;
      const std::string state = in_time ? questions_.back().get() : "none";
      MutexLock lock(mutex_);
      answers_.push_back(state);
    }
    return std::chrono::system_clock::now();
  }
  std::vector<std::string> Answers() const {
    MutexLock lock(mutex_);
    return answers_;
  }
  std::atomic<RoundMachine*> machine{nullptr};

 private:
  const std::thread::id test_ = std::this_thread::get_id();
  mutable std::vector<std::future<std::string>> questions_;  // the machine's thread's
  mutable Mutex mutex_;
  mutable std::vector<std::string> answers_ ABSL_GUARDED_BY(mutex_);
};

TEST_F(RoundMachineTest, TheStatusIsAnsweredWhileARoundIsClosed) {
  AskingClock clock;
  AggregatorOptions options = SmallOptions(folder_.path() / "asking");
  options.rounds = 1;
  Rooms rooms(options, authority_, clock);
  const std::vector<TrainWork> work = BeginRound(rooms, {"a", "b"});
  const TensorMap update = RandomUpdate(SmallAdapter(), AggregationMode::kFreezeA, 1);
  rooms.Send("a", work[0], update, 5);
  clock.machine = &rooms.machine();
  rooms.Send("b", work[1], update, 5);
  rooms.Install("a", 0);
  clock.machine = nullptr;
  rooms.Close();
  const std::vector<std::string> answers = clock.Answers();
  EXPECT_TRUE(std::find(answers.begin(), answers.end(), "aggregating") != answers.end());
}

TEST_F(RoundMachineTest, ANewerCallOfASiteEndsTheOlderOne) {
  const auto rooms = Make();
  rooms->Enrol("a");
  const Stopwatch watch;
  std::atomic<bool> ended{false};
  std::thread older([&] {
    EXPECT_TRUE(std::holds_alternative<WaitWork>(rooms->Ask("a", 0, 120000)));
    ended = true;
  });
  // Again and again: a call before the other thread has begun to wait is not the newer one.
  while (!ended) {
    EXPECT_TRUE(std::holds_alternative<WaitWork>(rooms->Ask("a", 0, 0)));
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  older.join();
  EXPECT_LT(watch.Seconds(), 60);
}

TEST_F(RoundMachineTest, ACallWhoseCallerIsGoneEnds) {
  const auto rooms = Make();
  rooms->Enrol("a");
  bool gone = false;  // at the second question
  const Stopwatch watch;
  Get(rooms->machine().NextWork("a", 0, 10, std::chrono::seconds(120), [&] { return std::exchange(gone, true); }));
  EXPECT_LT(watch.Seconds(), 60);
}

TEST_F(RoundMachineTest, AStateFolderBelongsToOneFederationAndMode) {
  const auto rooms = Make();
  rooms->Close();
  rooms->mutable_options().mode = AggregationMode::kStack;
  EXPECT_EQ(ExitCodeOf(rooms->TryOpen()), ExitCode::kConfiguration);
  rooms->mutable_options().mode = AggregationMode::kFreezeA;
  rooms->mutable_options().federation = "another";
  EXPECT_EQ(ExitCodeOf(rooms->TryOpen()), ExitCode::kConfiguration);
  rooms->mutable_options().federation = "test";
  EXPECT_TRUE(rooms->TryOpen().ok());
}

TEST_F(RoundMachineTest, AnInitialAdapterWithoutABaseOrNoneAtAllIsAnError) {
  const auto rooms = Make();
  rooms->Close();
  AggregatorOptions options = rooms->options();
  Adapter adapter = SmallAdapter();
  adapter.provenance.reset();
  options.state_dir = folder_.path() / "new";
  options.initial_adapter = folder_.path() / "bare";
  ASSERT_TRUE(SaveAdapter(adapter, options.initial_adapter).ok());
  const auto open = [&] {
    auto store = Get(Store::Open(folder_.path() / "new.sqlite"));
    return RoundMachine::Open(options, *store, rooms->artifacts(), rooms->spool(), authority_, *clock_).status();
  };
  EXPECT_EQ(ExitCodeOf(open()), ExitCode::kConfiguration);
  options.initial_adapter = folder_.path() / "nowhere";
  EXPECT_EQ(ExitCodeOf(open()), ExitCode::kBadInputFile);
}

TEST_F(RoundMachineTest, FewerRoundsThanWereDoneAreFinished) {
  const auto rooms = Make();
  const std::vector<TrainWork> work = BeginRound(*rooms, {"a", "b"});
  const TensorMap update = RandomUpdate(rooms->Published(work[0].adapter_sha256), AggregationMode::kFreezeA, 1);
  for (int64_t round = 1; round <= 2; ++round) {
    for (const char* site : {"a", "b"}) rooms->Ask(site, round - 1, 0);
    for (const char* site : {"a", "b"}) rooms->Send(site, rooms->Train(site, round - 1), update, 5);
    rooms->Install("a", round - 1);
  }
  rooms->mutable_options().rounds = 1;
  rooms->Restart();
  EXPECT_TRUE(rooms->Install("a", 1).last);
  EXPECT_TRUE(std::holds_alternative<FinishedWork>(rooms->Ask("a", 2)));
}

// Two rounds of three sites. `boundary` is called wherever a kill could fall; sites send in the order given.
std::string RunFederation(Rooms& rooms, AggregationMode mode, const std::vector<std::string>& order,
                          const std::function<void()>& boundary) {
  const std::vector<std::string> sites = {"a", "b", "c"};
  for (const std::string& site : sites) rooms.Enrol(site);
  boundary();
  for (int64_t round = 1; round <= 2; ++round) {
    for (const std::string& site : sites) {
      rooms.Ask(site, round - 1, 0);
      boundary();
    }
    std::map<std::string, TrainWork> work;
    for (const std::string& site : sites) work[site] = rooms.Train(site, round - 1);
    boundary();  // the round is open
    for (const std::string& site : order) {
      const unsigned seed = static_cast<unsigned>(100 * round + site[0]);
      const TensorMap update = RandomUpdate(rooms.Published(work[site].adapter_sha256), mode, seed);
      const std::string bytes = SerializeTensors(update);
      rooms.Write(work[site].update_id, 0, bytes.substr(0, bytes.size() / 3));
      boundary();  // in the middle of a transfer
      const uint64_t received = rooms.spool().Received(work[site].update_id);
      EXPECT_EQ(received, bytes.size() / 3);
      rooms.Write(work[site].update_id, received, bytes.substr(received));
      boundary();  // all there, not decided
      const UpdateClaim claim = rooms.ClaimOf(work[site], bytes, site[0]);
      EXPECT_EQ(Get(rooms.machine().DecideUpdate(site, claim)).state, UpdateState::kAccepted);
      boundary();  // decided; after the last one: before the round is closed, or just after
      EXPECT_EQ(Get(rooms.machine().DecideUpdate(site, claim)).state, UpdateState::kAccepted);  // the answer was lost
    }
    for (const std::string& site : sites) rooms.Install(site, round - 1);
    boundary();  // closed
  }
  return Get(rooms.artifacts().Read(rooms.machine().Summary().adapter_sha256));
}

class Killed : public RoundMachineTest, public testing::WithParamInterface<AggregationMode> {};

TEST_P(Killed, AtEveryBoundaryTheFinalAdapterIsTheSameByteForByte) {
  const auto mode = [](AggregatorOptions& o) {
    o.mode = GetParam();
    o.min_sites = 3;
  };
  const auto never = Make(mode, "never"), always = Make(mode, "always"), turned = Make(mode, "turned");
  const std::string expected = RunFederation(*never, GetParam(), {"a", "b", "c"}, [] {});
  int kills = 0;
  EXPECT_EQ(RunFederation(*always, GetParam(), {"a", "b", "c"},
                          [&] {
                            always->Restart();
                            ++kills;
                          }),
            expected);
  EXPECT_EQ(kills, 1 + 2 * (3 + 1 + 9 + 1));
  // Nor does it matter who is first.
  EXPECT_EQ(RunFederation(*turned, GetParam(), {"c", "a", "b"}, [] {}), expected);
  EXPECT_EQ(Get(ParseAdapter(expected)).provenance->contributors.size(), 3u);
}

INSTANTIATE_TEST_SUITE_P(Modes, Killed, testing::Values(AggregationMode::kFreezeA, AggregationMode::kStack),
                         [](const auto& info) { return info.param == AggregationMode::kStack ? "stack" : "freezea"; });

// The instant between the last decision and the closing, made by deciding while no machine runs.
TEST_F(RoundMachineTest, KilledBeforeTheCloseItClosesAtTheNextStart) {
  const auto straight = Make([](AggregatorOptions&) {}, "straight"), killed = Make([](AggregatorOptions&) {}, "killed");
  std::string adapters[2];
  for (int i = 0; i < 2; ++i) {
    Rooms& rooms = i == 0 ? *straight : *killed;
    const std::vector<TrainWork> work = BeginRound(rooms, {"a", "b"});
    const TensorMap update = RandomUpdate(rooms.Published(work[0].adapter_sha256), AggregationMode::kFreezeA, 1);
    rooms.Send("a", work[0], update, 3);
    if (i == 0) {
      rooms.Send("b", work[1], update, 4);
    } else {
      rooms.Close();
      const std::string bytes = SerializeTensors(update);
      rooms.Write(work[1].update_id, 0, bytes);
      UpdateRow row = *Get(rooms.store().FindUpdate(work[1].update_id));
      row.state = UpdateState::kAccepted;
      row.sha256 = Sha256Hex(bytes);
      row.bytes = static_cast<int64_t>(bytes.size());
      row.examples = 4;
      ASSERT_TRUE(rooms.store().DecideUpdate(row, 1).ok());
      rooms.Open();
    }
    adapters[i] = Get(rooms.artifacts().Read(rooms.Install("a", 0).adapter_sha256));
  }
  EXPECT_EQ(adapters[0], adapters[1]);
}

TEST_F(RoundMachineTest, KilledAfterTheCloseItRemovesWhatWasLeftInTheSpool) {
  const auto rooms = Make();
  const std::vector<TrainWork> work = BeginRound(*rooms, {"a", "b"});
  const TensorMap update = RandomUpdate(rooms->Published(work[0].adapter_sha256), AggregationMode::kFreezeA, 1);
  rooms->Send("a", work[0], update, 3);
  rooms->Restart();
  EXPECT_GT(rooms->spool().Received(work[0].update_id), 0u);  // needed: the round is open
  rooms->Send("b", work[1], update, 4);
  rooms->Install("a", 0);
  rooms->Close();
  rooms->Write(work[0].update_id, 0, "as if it had not been removed");
  rooms->Restart();
  EXPECT_EQ(rooms->spool().Received(work[0].update_id), 0u);
}

}  // namespace
}  // namespace fedglm
