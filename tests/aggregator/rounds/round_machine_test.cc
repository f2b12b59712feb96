#include "aggregator/rounds/round_machine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <future>
#include <thread>

#include "base/tls.h"
#include "tests/aggregator/rounds/open_round.h"

namespace fedglm {
namespace {

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
  EXPECT_EQ(Get(rooms->store().LastRound())->deadline_unix_ms, UnixMilliseconds(clock_->Now()) + 60000);
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
    const TensorMap update = RandomUpdate(global, UpdateForm::kChangeOfB, 1);
    EXPECT_EQ(rooms->Send("a", work[0], update, 5).state, UpdateState::kAccepted);
    EXPECT_TRUE(std::holds_alternative<WaitWork>(rooms->Ask("a", round - 1, 0)));  // done its part
    EXPECT_EQ(rooms->Send("b", work[1], update, 5).state, UpdateState::kAccepted);
    const InstallWork install = rooms->Install("a", round - 1);
    EXPECT_EQ(install.round, round);
    EXPECT_EQ(rooms->Published(install.adapter_sha256).provenance->contributors.size(), 2u);
    EXPECT_EQ(rooms->Published(install.adapter_sha256).provenance->round, round);
    rooms->Install("b", round - 1);
  }
  EXPECT_TRUE(std::holds_alternative<FinishedWork>(rooms->Ask("a", 2)));
  EXPECT_EQ(rooms->machine().Summary().state, "finished");
  EXPECT_TRUE(std::filesystem::is_empty(rooms->options().state_dir / "spool"));
}

TEST_F(RoundMachineTest, TheWeightsFollowTheNumberOfExamples) {
  const auto rooms = Make([](AggregatorOptions& o) { o.bounds.weight_share = 1; });
  const std::vector<TrainWork> work = BeginRound(*rooms, {"a", "b"});
  const Adapter global = rooms->Published(work[0].adapter_sha256);
  TensorMap one = TensorsOf(global, UpdateForm::kChangeOfB), two = one;
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
  const TensorMap update = RandomUpdate(global, UpdateForm::kChangeOfB, 1);
  const UpdateRow first = rooms->Send("a", work[0], update, 5);
  const std::string bytes = SerializeTensors(update);
  const UpdateRow again = Get(rooms->machine().DecideUpdate("a", rooms->ClaimOf(work[0], bytes, 5)));
  EXPECT_EQ(again.state, UpdateState::kAccepted);
  EXPECT_EQ(again.sha256, first.sha256);
  // Not even with other content.
  EXPECT_EQ(Get(rooms->machine().DecideUpdate("a", rooms->ClaimOf(work[0], "other", 500))).sha256, first.sha256);
  EXPECT_EQ(rooms->store().FindNode("a")->bytes_received, static_cast<int64_t>(bytes.size()));
  rooms->Send("b", work[1], RandomUpdate(global, UpdateForm::kChangeOfB, 2), 5);
  const InstallWork install = rooms->Install("a", 0);
  EXPECT_EQ(rooms->Published(install.adapter_sha256).provenance->contributors.size(), 2u);
  // Also after the round is closed.
  EXPECT_EQ(Get(rooms->machine().DecideUpdate("a", rooms->ClaimOf(work[0], bytes, 5))).state, UpdateState::kAccepted);
  EXPECT_EQ(Get(rooms->store().Audit(0, 100)).size(), 2u);
}

TEST_F(RoundMachineTest, TheDeadlineClosesARoundWithoutLateSites) {
  const auto rooms = Make();
  const std::vector<TrainWork> work = BeginRound(*rooms, {"a", "b", "c"});
  const Adapter global = rooms->Published(work[0].adapter_sha256);
  const TensorMap update = RandomUpdate(global, UpdateForm::kChangeOfB, 1);
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
  rooms->Send("a", work[0], RandomUpdate(global, UpdateForm::kChangeOfB, 1), 5);
  clock_->Advance(std::chrono::seconds(61));
  EXPECT_TRUE(std::holds_alternative<WaitWork>(rooms->Ask("a", 0, 600)));
  rooms->Send("b", work[1], RandomUpdate(global, UpdateForm::kChangeOfB, 2), 5);  // late, and still needed
  EXPECT_EQ(rooms->Published(rooms->Install("a", 0).adapter_sha256).provenance->contributors.size(), 2u);
}

// Three are needed and two are refused: what one site sent is not published as the mean.
TEST_F(RoundMachineTest, ARoundBelowItsQuorumIsNotClosedButBeginsAgain) {
  const auto rooms = Make([](AggregatorOptions& o) { o.min_sites = o.min_updates = 3, o.round_timeout_seconds = 600; });
  const std::vector<TrainWork> work = BeginRound(*rooms, {"a", "b", "c"});
  const Adapter global = rooms->Published(work[0].adapter_sha256);
  const TensorMap wrong = RandomUpdate(global, UpdateForm::kFactors, 1);
  const TensorMap good = RandomUpdate(global, UpdateForm::kChangeOfB, 2);
  const std::string sent = rooms->Send("a", work[0], good, 5).sha256;
  for (const size_t site : {1, 2})
    EXPECT_EQ(rooms->Send(site == 1 ? "b" : "c", work[site], wrong, 5).reason.empty(), false);
  for (const char* site : {"a", "b", "c"}) EXPECT_TRUE(std::holds_alternative<WaitWork>(rooms->Ask(site, 0, 300)));
  rooms->Enrol("new");
  rooms->Ask("new", 0, 0);
  clock_->Advance(std::chrono::seconds(61));  // before the deadline: nobody is left to wait for
  // The refused ones are asked for the same update again, the new one for its own, and the accepted one for nothing.
  EXPECT_EQ(rooms->Train("b", 0).update_id, work[1].update_id);
  const TrainWork of_new = rooms->Train("new", 0);
  EXPECT_EQ(of_new.round, 1);
  EXPECT_TRUE(std::holds_alternative<WaitWork>(rooms->Ask("a", 0, 0)));
  const std::vector<AuditRow> audit = Get(rooms->store().Audit(0, 100));
  EXPECT_EQ(audit.back().action, "round begins again");
  EXPECT_EQ(audit.back().detail, "1 of the 3 updates that it needs are in, and nobody else is asked");
  rooms->Send("b", work[1], good, 5);
  rooms->Send("new", of_new, good, 5);
  EXPECT_TRUE(std::holds_alternative<WaitWork>(rooms->Ask("a", 0, 300))) << "c may still send";
  clock_->Advance(std::chrono::seconds(601));
  const Adapter result = rooms->Published(rooms->Install("a", 0).adapter_sha256);
  EXPECT_EQ(result.provenance->round, 1);
  EXPECT_EQ(result.provenance->contributors.size(), 3u);
  EXPECT_EQ(std::count(result.provenance->contributors.begin(), result.provenance->contributors.end(), sent), 3);
}

TEST_F(RoundMachineTest, WhatStaysBelowTheQuorumIsAuditedOnce) {
  const auto rooms = Make([](AggregatorOptions& o) { o.min_sites = o.min_updates = 2; });
  const std::vector<TrainWork> work = BeginRound(*rooms, {"a", "b"});
  const Adapter global = rooms->Published(work[0].adapter_sha256);
  rooms->Send("a", work[0], RandomUpdate(global, UpdateForm::kChangeOfB, 1), 5);
  for (const char* site : {"c", "d", "e"}) {
    rooms->Enrol(site);
    rooms->Ask(site, 0, 0);
    clock_->Advance(std::chrono::hours(24));
    EXPECT_EQ(rooms->Train(site, 0).round, 1) << "asked because it begins again";
  }
  std::vector<AuditRow> entries = Get(rooms->store().Audit(0, 1000));
  std::erase_if(entries, [](const AuditRow& entry) { return entry.action != "round begins again"; });
  EXPECT_EQ(entries.size(), 1u);
  rooms->Send("b", work[1], RandomUpdate(global, UpdateForm::kChangeOfB, 2), 5);
  EXPECT_EQ(rooms->Install("b", 0).round, 1);
}

// A day without the aggregator: nobody is late because of it.
TEST_F(RoundMachineTest, AnOutageOfTheAggregatorDoesNotCountAgainstTheSites) {
  const auto rooms = Make();
  const std::vector<TrainWork> work = BeginRound(*rooms, {"a", "b"});
  const Adapter global = rooms->Published(work[0].adapter_sha256);
  rooms->Send("a", work[0], RandomUpdate(global, UpdateForm::kChangeOfB, 1), 5);
  rooms->Close();
  clock_->Advance(std::chrono::hours(24));
  rooms->Restart();
  EXPECT_TRUE(std::holds_alternative<WaitWork>(rooms->Ask("a", 0, 600)));
  EXPECT_EQ(rooms->Send("b", work[1], RandomUpdate(global, UpdateForm::kChangeOfB, 2), 5).state,
            UpdateState::kAccepted);
  EXPECT_EQ(rooms->Published(rooms->Install("a", 0).adapter_sha256).provenance->contributors.size(), 2u);
}

TEST_F(RoundMachineTest, RevokingASiteClosesTheGapItLeaves) {
  const auto rooms = Make();
  const std::vector<TrainWork> work = BeginRound(*rooms, {"a", "b", "c"});
  const Adapter global = rooms->Published(work[0].adapter_sha256);
  const TensorMap update = RandomUpdate(global, UpdateForm::kChangeOfB, 1);
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

TEST_F(RoundMachineTest, WhatARevokedSiteHasSentDoesNotCount) {
  const auto rooms = Make();
  const std::vector<TrainWork> work = BeginRound(*rooms, {"a", "b", "c"});
  const TensorMap update = RandomUpdate(rooms->Published(work[0].adapter_sha256), UpdateForm::kChangeOfB, 1);
  for (const size_t site : {0, 2}) {
    EXPECT_EQ(rooms->Send(site == 0 ? "a" : "c", work[site], update, 5).state, UpdateState::kAccepted);
  }
  ASSERT_TRUE(rooms->machine().Revoke("c", "stolen", "admin:first").ok());
  rooms->Send("b", work[1], update, 5);
  EXPECT_EQ(rooms->Published(rooms->Install("a", 0).adapter_sha256).provenance->contributors.size(), 2u);
  EXPECT_EQ(Get(rooms->store().FindUpdate(work[2].update_id))->reason, "the site was revoked");
}

TEST_F(RoundMachineTest, EvaluationReportsAreChecked) {
  const auto rooms = Make();
  const std::vector<TrainWork> work = BeginRound(*rooms, {"a", "b"});
  RoundMachine& machine = rooms->machine();
  EXPECT_TRUE(machine.ReportEvaluation("a", 0, {2.5, 100}).ok());
  EXPECT_EQ(ExitCodeOf(machine.ReportEvaluation("a", 1, {2.5, 100})), ExitCode::kRefused);  // open, not closed
  EXPECT_EQ(ExitCodeOf(machine.ReportEvaluation("a", -1, {2.5, 100})), ExitCode::kRefused);
  EXPECT_EQ(ExitCodeOf(machine.ReportEvaluation("a", 0, {std::nan(""), 100})), ExitCode::kRefused);
  EXPECT_EQ(ExitCodeOf(machine.ReportEvaluation("a", 0, {INFINITY, 100})), ExitCode::kRefused);
  EXPECT_EQ(ExitCodeOf(machine.ReportEvaluation("a", 0, {-1, 100})), ExitCode::kRefused);
  EXPECT_EQ(ExitCodeOf(machine.ReportEvaluation("a", 0, {2.5, 0})), ExitCode::kRefused);
  EXPECT_EQ(ExitCodeOf(machine.ReportEvaluation("a", 0, {2.5, int64_t{1} << 62})), ExitCode::kRefused);
  EXPECT_EQ(ExitCodeOf(machine.ReportEvaluation("a", 0, {1e6, 100})), ExitCode::kRefused);
  const std::vector<EvaluationRow> rows = Get(rooms->store().EvaluationsOf(0));
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].loss, 2.5);
}

TEST_F(RoundMachineTest, ALossThatWasReportedIsNotRewrittenAndTheAttemptIsAuditedOnce) {
  const auto rooms = Make();
  const std::vector<TrainWork> work = BeginRound(*rooms, {"a", "b"});
  RoundMachine& machine = rooms->machine();
  for (const double loss : {2.5, 2.5, 0.1, 0.2}) EXPECT_TRUE(machine.ReportEvaluation("a", 0, {loss, 100}).ok());
  EXPECT_EQ(Get(rooms->store().EvaluationsOf(0)).at(0).loss, 2.5);
  std::vector<AuditRow> entries = Get(rooms->store().Audit(0, 1000));
  std::erase_if(entries, [](const AuditRow& entry) { return entry.action != "evaluation repeated"; });
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries[0].actor, "a");
  EXPECT_EQ(entries[0].detail, "round 0: a loss of 2.500000 counts, which was reported first, not 0.100000");
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
  EXPECT_EQ(entries[0].detail, "round 0, adapter 0123456789ab: bad signature");
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
  EXPECT_TRUE(machine.ReportEvaluation("a", 0, {2.5, 100}).ok()) << "and then it succeeded";
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
  std::chrono::steady_clock::time_point Monotonic() const override { return std::chrono::steady_clock::now(); }
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
  const TensorMap update = RandomUpdate(SmallAdapter(), UpdateForm::kChangeOfB, 1);
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
  int told = 0;
  const uint64_t call = rooms->machine().AwaitWork("a", {.installed_round = 0}, std::chrono::seconds(120),
                                                   [&](const absl::StatusOr<Work>&) { ++told; });
  rooms->machine().StopWaiting("a", call + 1);
  EXPECT_EQ(told, 0);
  rooms->machine().StopWaiting("a", call);
  EXPECT_EQ(told, 1);
}

TEST_F(RoundMachineTest, AStateFolderBelongsToOneFederationAndMode) {
  const auto rooms = Make();
  rooms->Close();
  rooms->mutable_options().mode = UpdateForm::kFactors;
  EXPECT_EQ(ExitCodeOf(rooms->TryOpen()), ExitCode::kConfiguration);
  rooms->mutable_options().mode = UpdateForm::kChangeOfB;
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
    return RoundMachine::Open(options, *store, rooms->artifacts(), rooms->states(), rooms->spool(), authority_, *clock_)
        .status();
  };
  EXPECT_EQ(ExitCodeOf(open()), ExitCode::kConfiguration);
  options.initial_adapter = folder_.path() / "nowhere";
  EXPECT_EQ(ExitCodeOf(open()), ExitCode::kBadInputFile);
}

TEST_F(RoundMachineTest, FewerRoundsThanWereDoneAreFinished) {
  const auto rooms = Make();
  const std::vector<TrainWork> work = BeginRound(*rooms, {"a", "b"});
  const TensorMap update = RandomUpdate(rooms->Published(work[0].adapter_sha256), UpdateForm::kChangeOfB, 1);
  for (int64_t round = 1; round <= 2; ++round) {
    for (const char* site : {"a", "b"}) rooms->Ask(site, round - 1, 0);
    for (const char* site : {"a", "b"}) rooms->Send(site, rooms->Train(site, round - 1), update, 5);
    rooms->Install("a", round - 1);
  }
  rooms->mutable_options().rounds = 1;
  rooms->Restart();
  EXPECT_EQ(rooms->Install("a", 1).round, 2);
  EXPECT_TRUE(std::holds_alternative<FinishedWork>(rooms->Ask("a", 2)));
}

}  // namespace
}  // namespace fedglm
