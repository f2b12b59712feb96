// A site's part of a round with a real trainer, and an aggregator that does what the test says.
#include "client/round_participant.h"

#include <gmock/gmock.h>

#include <atomic>

#include "base/json.h"
#include "inference/engine/engine.h"
#include "tests/client/scripted_aggregator.h"
#include "tests/client/small_site.h"

namespace fedglm {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class RoundParticipantTest : public SmallSite {
 protected:
  void SetUp() override {
    SmallSite::SetUp();
    if (IsSkipped()) return;
    options_.state_dir = Path("state");
    options_.max_regression = 1e12;  // the golden LoRA is random, and worse than the base
    supervisor_ = Get(TrainerSupervisor::Start(Supervised()));
    EngineOptions engine;
    engine.threads = 1;
    engine_ = Get(Engine::Open(model_, engine));
    outbox_ = std::make_unique<Outbox>(Get(Outbox::Open(Path("state/outbox"))));
    client_ = std::make_unique<FederationClient>(aggregator_.identity, Path("state/artifacts"));
    aggregator_.receipt.set_accepted(true);
  }
  RoundParticipant Participant() {
    return RoundParticipant({options_, aggregator_.identity, base_sha256_, *client_, *supervisor_, *outbox_,
                             [this](const Adapter& adapter) { return engine_->CheckAdapter(adapter); },
                             [this](std::shared_ptr<const Adapter> adapter) {
                               running_ = std::move(adapter);
                               return absl::OkStatus();
                             },
                             [] { return false; }});
  }
  // As the base alone.
  static Adapter Neutral() {
    Adapter adapter = Lora();
    for (auto& [name, pair] : adapter.modules) pair.b = Matrix::Zero(pair.b.rows, pair.b.columns);
    return adapter;
  }
  Adapter Signed(int64_t round) const { return SignedAdapter(Lora(), aggregator_.signing_key, round, base_sha256_); }
  v1::ArtifactReference Published(const Adapter& adapter) {
    const std::string bytes = SerializeAdapter(adapter);
    return aggregator_.Reference(aggregator_.Publish(bytes), bytes.size());
  }
  v1::TrainTask Task(int64_t round) {
    v1::TrainTask task;
    task.set_round(round);
    task.set_rounds(9);
    *task.mutable_adapter() = Published(Signed(round - 1));
    task.set_mode("freeze-a");
    task.set_update_id("ab12");
    TrainingPlan plan;
    plan.steps = 1;
    plan.batch_tokens = plan.sequence_length = 64;
    plan.learning_rate = 0.01;
    plan.seed = 3;
    task.set_plan(DumpJson(ToJson(plan)));
    return task;
  }
  static void SetInPlan(v1::TrainTask& task, const char* key, const Json& value) {
    Json plan = Get(ParseJson(task.plan(), "plan"));
    plan[key] = value;
    task.set_plan(DumpJson(plan));
  }
  v1::InstallTask Install(const Adapter& adapter, int64_t round) {
    v1::InstallTask task;
    task.set_round(round);
    *task.mutable_adapter() = Published(adapter);
    return task;
  }

  ScriptedAggregator aggregator_;
  NodeOptions options_;
  std::unique_ptr<TrainerSupervisor> supervisor_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Outbox> outbox_;
  std::unique_ptr<FederationClient> client_;
  std::shared_ptr<const Adapter> running_;
};

TEST_F(RoundParticipantTest, AnUpdateLeavesClippedAndARoundTrainedTwiceGivesTheSame) {
  constexpr double kBound = 1e-3;
  options_.privacy.max_update_norm = kBound;
  const v1::TrainTask task = Task(2);
  ASSERT_TRUE(Participant().Train(task).ok());
  const std::string first = aggregator_.received;
  const TensorMap update = Get(ParseTensors(first));
  EXPECT_NEAR(NormOf(update), kBound, kBound * 1e-5);
  EXPECT_TRUE(CheckUpdate(update, Lora(), UpdateForm::kChangeOfB).ok());
  EXPECT_THAT(Get(outbox_->Waiting()), IsEmpty());
  const TrainingProgress progress = Get(ReadProgress(options_.state_dir));
  EXPECT_EQ(progress.examples_before, 0);
  EXPECT_GT(progress.examples_after, 0);
  EXPECT_EQ(aggregator_.headers.at(0).examples(), progress.examples_after) << "its weight is what it was trained on";

  // The update was lost with the machine's power before it was in the outbox; the progress was not.
  aggregator_.received.clear();
  ASSERT_TRUE(Participant().Train(task).ok());
  EXPECT_EQ(Sha256Hex(aggregator_.received), Sha256Hex(first));
  EXPECT_EQ(Get(ReadProgress(options_.state_dir)).examples_after, progress.examples_after);
}

TEST_F(RoundParticipantTest, AnUpdateThatCannotLeaveWaitsAndIsNotTrainedAgain) {
  aggregator_.break_upload_after = 1;
  const v1::TrainTask task = Task(1);
  EXPECT_EQ(ExitCodeOf(Participant().Train(task)), ExitCode::kUnreachable);
  ASSERT_EQ(Get(outbox_->Waiting()).size(), 1u);
  supervisor_.reset();  // no trainer is there any more, and none is needed
  supervisor_ = Get(TrainerSupervisor::Start(Supervised()));
  std::filesystem::remove(Path("records.jsonl"));
  EXPECT_TRUE(Participant().Train(task).ok());
  EXPECT_THAT(Get(outbox_->Waiting()), IsEmpty());
  EXPECT_TRUE(ParseTensors(aggregator_.received).ok());
}

TEST_F(RoundParticipantTest, AnUpdateThatWasLostOnDiskDoesNotStandInTheWay) {
  OutboxEntry entry;
  entry.update_id = "ab12";
  entry.round = 1;
  entry.mode = "freeze-a";
  ASSERT_TRUE(outbox_->Put(entry, "an update").ok());
  ASSERT_TRUE(WriteFileAtomically(Path("state/outbox/ab12.update"), "another one").ok());
  entry.update_id = "cd34";
  ASSERT_TRUE(outbox_->Put(entry, "a second update").ok());
  std::filesystem::remove(Path("state/outbox/cd34.update"));
  EXPECT_TRUE(Participant().SendWaiting().ok());
  EXPECT_THAT(Get(outbox_->Waiting()), IsEmpty());
  EXPECT_THAT(aggregator_.headers, IsEmpty()) << "nothing was sent";
}

TEST_F(RoundParticipantTest, ATaskThatMakesNoSenseDoesNothing) {
  const std::pair<const char*, std::function<void(v1::TrainTask&)>> spoiled[] = {
      {"round", [](auto& task) { task.set_round(INT64_MIN); }},
      {"round", [](auto& task) { task.set_round(INT64_MAX); }},
      {"round", [](auto& task) { task.set_round(0); }},
      {"number of rounds", [](auto& task) { task.set_rounds(0); }},
      {"number of rounds", [](auto& task) { task.set_rounds(INT64_MAX); }},
      {"steps", [](auto& task) { SetInPlan(task, "steps", INT64_MAX); }},
      {"steps", [](auto& task) { SetInPlan(task, "steps", -1); }},
      {"mode", [](auto& task) { task.set_mode("steal"); }},
      {"optimizer", [](auto& task) { SetInPlan(task, "optimizer", "rm -rf /"); }},
      {"learning_rate", [](auto& task) { SetInPlan(task, "learning_rate", std::nan("")); }},
      {"sequence_length", [](auto& task) { SetInPlan(task, "sequence_length", -5); }},
      {"the aggregator's training plan: unknown key \"upload_records\"",
       [](auto& task) { SetInPlan(task, "upload_records", true); }},
      {"the aggregator's training plan", [](auto& task) { task.set_plan("steps = 5"); }},
      {"update id", [](auto& task) { task.set_update_id("../../../tmp/x"); }}};
  const v1::TrainTask good = Task(1);
  for (const auto& [because, spoil] : spoiled) {
    v1::TrainTask task = good;
    spoil(task);
    const absl::Status status = Participant().Train(task);
    EXPECT_FALSE(status.ok()) << because;
    EXPECT_THAT(Message(status), HasSubstr(because));
  }
  EXPECT_THAT(Get(outbox_->Waiting()), IsEmpty());
  EXPECT_THAT(aggregator_.headers, IsEmpty());
}

// At its end the cosine is 0, and a step changes nothing.
TEST_F(RoundParticipantTest, TheScheduleRunsOverAllRounds) {
  v1::TrainTask task = Task(2);
  SetInPlan(task, "schedule", "cosine");
  task.set_rounds(1);
  ASSERT_TRUE(Participant().Train(task).ok());
  EXPECT_EQ(NormOf(Get(ParseTensors(aggregator_.received))), 0);
  aggregator_.received.clear();
  task.set_rounds(9);
  ASSERT_TRUE(Participant().Train(task).ok());
  EXPECT_GT(NormOf(Get(ParseTensors(aggregator_.received))), 0);
}

TEST_F(RoundParticipantTest, AnAdapterIsEvaluatedInstalledAndRunsAgainInTheNextLife) {
  const Adapter adapter = Signed(3);
  const InstalledRound installed = Get(Participant().Install(Install(adapter, 3)));
  EXPECT_EQ(installed.round, 3);
  ASSERT_NE(running_, nullptr);
  EXPECT_EQ(running_->modules, adapter.modules);
  ASSERT_EQ(aggregator_.evaluations.size(), 1u);
  EXPECT_EQ(aggregator_.evaluations[0].round(), 3);
  EXPECT_GT(aggregator_.evaluations[0].loss(), 0);
  EXPECT_GT(aggregator_.evaluations[0].tokens(), 0);

  running_.reset();
  EXPECT_EQ(Participant().Resume().round, 3);
  ASSERT_NE(running_, nullptr);
  EXPECT_EQ(running_->modules, adapter.modules);
}

TEST_F(RoundParticipantTest, ANewSiteHasNothingToResume) {
  EXPECT_EQ(Participant().Resume().round, -1);
  EXPECT_EQ(running_, nullptr);
}

// Killed after the adapter was written and before installed.json was: the adapter says what it is.
TEST_F(RoundParticipantTest, TheAdapterThatWasWrittenLastRunsAgainAlsoIfTheNoteOfItIsMissingOrOld) {
  ASSERT_TRUE(SaveAdapter(Signed(3), Path("state/adapter")).ok());
  EXPECT_EQ(Participant().Resume().round, 3) << "there is no installed.json";
  EXPECT_NE(running_, nullptr);

  const std::string sha256 = Sha256Hex(SerializeAdapter(Signed(4)));
  ASSERT_TRUE(WriteInstalled({3, "-"}, options_.state_dir).ok());
  ASSERT_TRUE(SaveAdapter(Signed(4), Path("state/adapter")).ok());
  EXPECT_EQ(Participant().Resume().round, 4);
  EXPECT_EQ(Get(ReadInstalled(options_.state_dir)).round, 4);
  EXPECT_EQ(Get(ReadInstalled(options_.state_dir)).sha256, sha256) << "as the aggregator names it";
}

TEST_F(RoundParticipantTest, AnAdapterThatTheAggregatorDidNotSignIsNeverInstalled) {
  const Adapter forged = SignedAdapter(Lora(), Get(GenerateSigningKey()), 3, base_sha256_);
  // Not Refused, which would end the node: this site is wanted, the adapter is not.
  EXPECT_EQ(ExitCodeOf(Participant().Install(Install(forged, 3)).status()), ExitCode::kFailed);
  EXPECT_EQ(ExitCodeOf(Participant().Install(Install(Signed(2), 3)).status()), ExitCode::kFailed) << "an older one";
  v1::TrainTask task = Task(4);
  *task.mutable_adapter() = Published(forged);
  EXPECT_EQ(ExitCodeOf(Participant().Train(task)), ExitCode::kFailed);
  EXPECT_THAT(Get(outbox_->Waiting()), IsEmpty()) << "nothing is trained from it";
  ASSERT_EQ(aggregator_.rejections.size(), 3u);
  EXPECT_EQ(aggregator_.rejections[0].round(), 3);
  EXPECT_EQ(aggregator_.rejections[0].adapter_sha256(), Sha256Hex(SerializeAdapter(forged)));
  EXPECT_THAT(aggregator_.rejections[0].reason(), HasSubstr("signature"));
  EXPECT_THAT(aggregator_.rejections[1].reason(), HasSubstr("of round 2, not 3"));
  EXPECT_FALSE(std::filesystem::exists(Path("state/adapter")));

  ASSERT_TRUE(SaveAdapter(forged, Path("state/adapter")).ok());
  EXPECT_EQ(Participant().Resume().round, -1) << "not even if it lies there";
  EXPECT_EQ(running_, nullptr);
  EXPECT_THAT(aggregator_.evaluations, IsEmpty());
}

// Signed by the aggregator, and of no use all the same: the one before goes on answering, here and in the next life.
TEST_F(RoundParticipantTest, ASignedAdapterThatDoesNotRunLeavesTheOneBeforeAsItIs) {
  RoundParticipant participant = Participant();
  Get(participant.Install(Install(Signed(3), 3)));
  const std::shared_ptr<const Adapter> before = running_;

  Adapter huge = Lora();
  for (auto& [name, pair] : huge.modules) {
    for (float& value : pair.b.values) value = 1e38f;
  }
  Adapter narrow = Lora();
  for (auto& [name, pair] : narrow.modules) pair.a = Matrix::Zero(pair.a.rows, pair.a.columns - 1);
  int64_t round = 4;
  for (const Adapter& bad : {huge, narrow}) {
    const v1::InstallTask task = Install(SignedAdapter(bad, aggregator_.signing_key, round, base_sha256_), round);
    EXPECT_EQ(ExitCodeOf(participant.Install(task).status()), ExitCode::kFailed);
    ASSERT_EQ(aggregator_.rejections.size(), static_cast<size_t>(round - 3));
    EXPECT_EQ(aggregator_.rejections.back().round(), round);
    // Offered again, it is neither fetched nor evaluated nor reported again.
    const size_t downloads = aggregator_.offsets.size();
    EXPECT_THAT(Message(participant.Install(task).status()), HasSubstr("still offers"));
    EXPECT_EQ(aggregator_.offsets.size(), downloads);
    EXPECT_EQ(aggregator_.rejections.size(), static_cast<size_t>(round - 3));
    ++round;
  }
  EXPECT_THAT(aggregator_.rejections[0].reason(), HasSubstr("not finite"));
  EXPECT_EQ(running_, before);
  EXPECT_EQ(aggregator_.evaluations.size(), 1u) << "the good one's";
  EXPECT_EQ(Participant().Resume().round, 3);

  EXPECT_EQ(Get(participant.Install(Install(Signed(6), 6))).round, 6) << "the next good one is installed";
}

// The site's records are to blame, not the adapter, which is signed and runs.
TEST_F(RoundParticipantTest, AnAdapterThatTheSiteCannotEvaluateWaitsAndIsNotRejected) {
  RoundParticipant participant = Participant();
  Get(participant.Install(Install(Signed(3), 3)));
  const std::shared_ptr<const Adapter> before = running_;
  const v1::InstallTask task = Install(Signed(4), 4);
  const std::string held_out = Get(ReadFile(Path("held-out.jsonl")));

  const auto expect_waits = [&](const std::string& because) {
    const absl::Status status = participant.Install(task).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kFailed) << "not BadFile, which would end the node";
    EXPECT_THAT(Message(status), HasSubstr("round 4 waits"));
    EXPECT_THAT(Message(status), HasSubstr(because));
    EXPECT_THAT(Message(status), Not(HasSubstr("Mustermann")));
  };
  std::filesystem::remove(Path("held-out.jsonl"));
  expect_waits("held-out.jsonl: no such file");
  ASSERT_TRUE(MakeDirectories(Path("held-out.jsonl"), 0700).ok());
  expect_waits("held-out.jsonl: not a file");
  std::filesystem::remove(Path("held-out.jsonl"));
  WriteRecords("held-out.jsonl", held_out + "Mustermann, Max\n");
  expect_waits("held-out.jsonl:4: ");
  EXPECT_EQ(running_, before);
  EXPECT_EQ(Get(ReadInstalled(options_.state_dir)).round, 3);
  EXPECT_THAT(aggregator_.rejections, IsEmpty());
  ASSERT_EQ(aggregator_.evaluations.size(), 2u) << "the first one's, and once that the second one failed";
  EXPECT_FALSE(aggregator_.evaluations[0].failed());
  EXPECT_TRUE(aggregator_.evaluations[1].failed());
  EXPECT_EQ(aggregator_.evaluations[1].round(), 4);

  WriteRecords("held-out.jsonl", held_out);
  EXPECT_EQ(Get(participant.Install(task)).round, 4) << "the site has its records again";
  EXPECT_NE(running_, before);
  EXPECT_FALSE(aggregator_.evaluations.back().failed());
  EXPECT_GT(aggregator_.evaluations.back().tokens(), 0);
}

// Signed, finite, and worse on the site's own records: the site keeps what it has, and helps to make it better.
TEST_F(RoundParticipantTest, AnAdapterThatIsWorseHereIsDeclinedAndTrainedFrom) {
  options_.max_regression = 0.01;
  const Adapter neutral = Neutral(), worse = Lora();
  const auto signed_for = [&](const Adapter& adapter, int64_t round) {
    return SignedAdapter(adapter, aggregator_.signing_key, round, base_sha256_);
  };
  RoundParticipant participant = Participant();
  EXPECT_EQ(Get(participant.Install(Install(signed_for(neutral, 3), 3))).round, 3) << "as good as the base alone";
  const std::shared_ptr<const Adapter> before = running_;
  EXPECT_EQ(participant.standing().setback, "");

  const v1::InstallTask task = Install(signed_for(worse, 4), 4);
  EXPECT_EQ(ExitCodeOf(participant.Install(task).status()), ExitCode::kFailed);
  EXPECT_EQ(running_, before);
  EXPECT_EQ(Get(ReadInstalled(options_.state_dir)).round, 3);
  EXPECT_EQ(participant.standing().declined_sha256, task.adapter().sha256());
  EXPECT_TRUE(participant.standing().trains_from_declined);
  EXPECT_EQ(participant.standing().setback, "adapter");
  ASSERT_EQ(aggregator_.rejections.size(), 1u);
  EXPECT_THAT(aggregator_.rejections[0].reason(), HasSubstr("the held-out loss is "));
  ASSERT_EQ(aggregator_.evaluations.size(), 2u) << "the federation hears of the loss";
  EXPECT_GT(aggregator_.evaluations[1].loss(), 1.01 * aggregator_.evaluations[0].loss() + 0.01);
  EXPECT_THAT(Message(participant.Install(task).status()), HasSubstr("still offers"));
  EXPECT_EQ(aggregator_.rejections.size(), 1u);

  v1::TrainTask train = Task(5);
  *train.mutable_adapter() = task.adapter();
  EXPECT_TRUE(participant.Train(train).ok());
  EXPECT_EQ(aggregator_.headers.size(), 1u);
  EXPECT_EQ(participant.standing().setback, "adapter") << "that is still so";

  EXPECT_EQ(Get(participant.Install(Install(signed_for(neutral, 5), 5))).round, 5);
  EXPECT_EQ(participant.standing().declined_sha256, "");
  EXPECT_EQ(participant.standing().setback, "");

  // Also in its next life, in which nothing is known of the losses.
  RoundParticipant again = Participant();
  EXPECT_EQ(again.Resume().round, 5);
  EXPECT_FALSE(again.Install(Install(signed_for(worse, 6), 6)).ok());
  options_.max_regression = 1e12;
  EXPECT_EQ(Get(Participant().Install(Install(signed_for(worse, 6), 6))).round, 6) << "if the site wants so";
}

// The operator rolls back: the older adapter may be worse here than the one that it undoes, and answers all the same,
// unless it is worse than the base alone.
TEST_F(RoundParticipantTest, ARollbackIsFollowedButNotToSomethingWorseThanTheBase) {
  options_.max_regression = 0.01;
  const Adapter neutral = Neutral(), worse = Lora();
  const auto made_by_sites = [&](const Adapter& adapter, int64_t round) {
    Adapter made = adapter;
    Provenance provenance;
    provenance.base_sha256 = base_sha256_;
    provenance.federation = "test";
    provenance.round = round;
    provenance.mode = "freeze-a";
    provenance.contributors = {std::string(64, 'c')};
    provenance.weights_sha256 = WeightsSha256(made);
    provenance.signature = Base64UrlEncode(Get(Sign(aggregator_.signing_key, SignedBytes(made.config, provenance))));
    made.provenance = provenance;
    return made;
  };
  const auto rolled_back_to = [&](const Adapter& adapter, int64_t round) {
    return SignedAdapter(adapter, aggregator_.signing_key, round, base_sha256_);
  };
  RoundParticipant participant = Participant();
  options_.max_regression = 1e12;  // an adapter that is far worse than the base answers, whyever
  EXPECT_EQ(Get(participant.Install(Install(made_by_sites(worse, 3), 3))).round, 3);
  options_.max_regression = 0.01;
  EXPECT_EQ(Get(participant.Install(Install(rolled_back_to(neutral, 4), 4))).round, 4);
  EXPECT_FALSE(participant.Install(Install(rolled_back_to(worse, 5), 5)).ok()) << "not what is worse than the base";
  EXPECT_EQ(Get(participant.Install(Install(rolled_back_to(neutral, 2), 2))).round, 2)
      << "of an aggregator that was put back from a copy";
}

// Without held-out records a tenth of the training records is set aside: looked at, and not trained on.
TEST_F(RoundParticipantTest, ASiteWithoutHeldOutRecordsLooksAtSomeOfItsOwn) {
  options_.max_regression = 0.01;
  WriteRecords("records.jsonl", SomeRecords(30));
  SupervisorOptions supervised = Supervised();
  supervised.held_out_records = {};
  supervisor_.reset();
  supervisor_ = Get(TrainerSupervisor::Start(supervised));
  RoundParticipant participant = Participant();
  EXPECT_TRUE(participant.Install(Install(SignedAdapter(Neutral(), aggregator_.signing_key, 1, base_sha256_), 1)).ok());
  ASSERT_EQ(aggregator_.evaluations.size(), 1u);
  const double base = aggregator_.evaluations[0].loss();
  int declined = 0, round = 1;
  for (const float scale : {1.0f, -1.0f, 3.0f, -3.0f, 10.0f, -10.0f}) {
    Adapter adapter = Lora();
    for (auto& [name, pair] : adapter.modules) {
      for (float& value : pair.b.values) value *= scale;
    }
    ++round;
    const bool answers =
        participant.Install(Install(SignedAdapter(adapter, aggregator_.signing_key, round, base_sha256_), round)).ok();
    EXPECT_EQ(answers, aggregator_.evaluations.back().loss() <= 1.01 * base + 0.01) << scale;
    declined += answers ? 0 : 1;
  }
  EXPECT_GT(declined, 0);
  v1::TrainTask task = Task(round + 1);
  task.set_mode("fedsgd");  // one gradient over all that is trained on
  ASSERT_TRUE(participant.Train(task).ok());
  EXPECT_LT(aggregator_.headers.at(0).examples(), 30);
  EXPECT_GT(aggregator_.headers.at(0).examples(), 15);
}

TEST_F(RoundParticipantTest, SaysWhatHoldsItBackInAWordAndNothingElse) {
  RoundParticipant participant = Participant();
  const std::string records = Get(ReadFile(Path("records.jsonl")));
  WriteRecords("records.jsonl", records + "Mustermann, Max\n");
  EXPECT_FALSE(participant.Train(Task(1)).ok());
  EXPECT_EQ(participant.standing().setback, "records");
  WriteRecords("records.jsonl", records);
  EXPECT_TRUE(participant.Train(Task(1)).ok());
  EXPECT_EQ(participant.standing().setback, "");

  const std::string held_out = Get(ReadFile(Path("held-out.jsonl")));
  WriteRecords("held-out.jsonl", "Mustermann, Max\n");
  const v1::InstallTask task = Install(Signed(1), 1);
  EXPECT_FALSE(participant.Install(task).ok());
  EXPECT_EQ(participant.standing().setback, "held-out");
  WriteRecords("held-out.jsonl", held_out);
  EXPECT_TRUE(participant.Install(task).ok());
  EXPECT_EQ(participant.standing().setback, "");
}

// The round is closed, or rolled back, while this site trains.
TEST_F(RoundParticipantTest, ATrainingThatNobodyWaitsForIsEnded) {
  aggregator_.expects = false;
  v1::TrainTask task = Task(3);
  SetInPlan(task, "steps", 100000);
  EXPECT_TRUE(Participant().Train(task).ok());
  EXPECT_EQ(aggregator_.last_heartbeat, 3);
  EXPECT_THAT(aggregator_.headers, IsEmpty());
  EXPECT_THAT(Get(outbox_->Waiting()), IsEmpty());
}

}  // namespace
}  // namespace fedglm
