// What a strategy remembers from round to round: it is on disk before a round is closed, and is given back after a
// restart.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "aggregator/rounds/round_machine.h"
#include "aggregator/strategy/fedavg.h"
#include "aggregator/updates/exact_mean.h"
#include "tests/aggregator/rounds/open_round.h"

namespace fedglm {
namespace {

// The n-th round adds n times the mean: n is what it remembers. Beyond a million it diverges.
class Accelerating : public Strategy {
 public:
  std::string_view name() const override { return "accelerating"; }
  bool Combines(UpdateForm form) const override { return form == UpdateForm::kChangeOfB; }
  absl::StatusOr<AggregationResult> Combine(const Adapter& global, UpdateForm form, const RoundUpdates& updates,
                                            TensorMap state) const override {
    const float round = state.empty() ? 1.0f : state.at("round").values.at(0) + 1;
    AggregationResult result;
    FEDGLM_ASSIGN_OR_RETURN(result.adapter, StepByMean(global, form, updates, round));
    float& value = result.adapter.modules.begin()->second.b.values.front();
    if (value > 1e6f) value = INFINITY;
    result.state["round"] = Matrix{1, 1, {round}};
    return result;
  }
};

// What it remembers is not finite, whatever it is sent.
class Diverging : public FedAvg {
 public:
  absl::StatusOr<AggregationResult> Combine(const Adapter& global, UpdateForm form, const RoundUpdates& updates,
                                            TensorMap state) const override {
    FEDGLM_ASSIGN_OR_RETURN(AggregationResult result, FedAvg::Combine(global, form, updates, std::move(state)));
    result.state["round"] = Matrix{1, 1, {INFINITY}};
    return result;
  }
};

class StrategyStateTest : public RoundMachineTest {
 protected:
  std::unique_ptr<Rooms> MakeAccelerating() {
    return Make([](AggregatorOptions& o) {
      o.rounds = 4;
      o.strategy = std::make_shared<Accelerating>();
    });
  }
  // A round of two sites, whose updates are `value` in each value of B.
  void RunRound(Rooms& rooms, int64_t round, float value) {
    const std::vector<std::string> sites = {"a", "b"};
    for (const std::string& site : sites) rooms.Enrol(site);
    for (const std::string& site : sites) rooms.Ask(site, round - 1, 0);
    for (const std::string& site : sites) {
      const TrainWork work = rooms.Train(site, round - 1);
      TensorMap update = TensorsOf(SmallAdapter(), UpdateForm::kChangeOfB);
      for (auto& [name, tensor] : update) std::fill(tensor.values.begin(), tensor.values.end(), value);
      rooms.Send(site, work, update, 5);
    }
    for (const std::string& site : sites) rooms.Install(site, round - 1);
  }
  static float ValueOfB(Rooms& rooms) {
    return rooms.Published(rooms.machine().Summary().adapter_sha256).modules.begin()->second.b.values.front();
  }
  std::vector<std::string> Files(Rooms& rooms) {
    std::vector<std::string> names;
    for (const auto& file : std::filesystem::directory_iterator(rooms.options().state_dir / "strategy")) {
      names.push_back(file.path().filename());
    }
    return names;
  }
};

TEST_F(StrategyStateTest, IsGivenToTheNextRoundAlsoAfterARestart) {
  const auto rooms = MakeAccelerating();
  RunRound(*rooms, 1, 1);
  EXPECT_EQ(ValueOfB(*rooms), 1);
  RunRound(*rooms, 2, 1);
  EXPECT_EQ(ValueOfB(*rooms), 1 + 2);
  rooms->Restart();
  RunRound(*rooms, 3, 1);
  EXPECT_EQ(ValueOfB(*rooms), 1 + 2 + 3);
  // One is kept, however many rounds there were: the last closed one's.
  const std::vector<RoundRow> rounds = Get(rooms->store().RoundsAfter(0, 3));
  ASSERT_EQ(rounds.size(), 3u);
  EXPECT_EQ(rounds[0].state_in, "");
  EXPECT_EQ(rounds[1].state_in, rounds[0].state_out);
  EXPECT_EQ(rounds[2].state_in, rounds[1].state_out);
  EXPECT_EQ(Files(*rooms), std::vector<std::string>{rounds[2].state_out});
}

TEST_F(StrategyStateTest, StaysAsItIsInARoundToWhichNobodyContributes) {
  const auto rooms = MakeAccelerating();
  RunRound(*rooms, 1, 1);
  RunRound(*rooms, 2, 1e7f);  // their mean is not finite
  EXPECT_EQ(ValueOfB(*rooms), 1);
  EXPECT_EQ(Get(rooms->store().RoundsAfter(1, 1)).at(0).state_out,
            Get(rooms->store().RoundsAfter(0, 1)).at(0).state_out);
  rooms->Restart();
  RunRound(*rooms, 3, 1);
  EXPECT_EQ(ValueOfB(*rooms), 1 + 2);
}

TEST_F(StrategyStateTest, ThatTheDiskLostIsToldAtTheStart) {
  const auto rooms = MakeAccelerating();
  RunRound(*rooms, 1, 1);
  rooms->Close();
  const std::filesystem::path file = rooms->options().state_dir / "strategy" / Files(*rooms).at(0);
  const std::string bytes = Get(ReadFile(file));
  for (const bool damaged : {true, false}) {
    ASSERT_TRUE(WriteFileAtomically(file, "damaged").ok());
    if (!damaged) std::filesystem::remove(file);
    const absl::Status status = rooms->TryOpen();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kFailed);
    EXPECT_NE(Message(status).find("strategy/" + file.filename().string()), std::string::npos) << Message(status);
  }
  ASSERT_TRUE(WriteFileAtomically(file, bytes).ok());
  EXPECT_TRUE(rooms->TryOpen().ok());
}

// The adapter would be finite, but no later round could make anything of what is remembered.
TEST_F(StrategyStateTest, ThatIsNotFiniteIsNotKept) {
  const auto rooms = Make([](AggregatorOptions& o) { o.strategy = std::make_shared<Diverging>(); });
  RunRound(*rooms, 1, 1);
  EXPECT_EQ(ValueOfB(*rooms), 0);
  EXPECT_TRUE(Files(*rooms).empty());
  rooms->Close();
  rooms->mutable_options().strategy = nullptr;
  rooms->Open();
  RunRound(*rooms, 2, 1);
  EXPECT_GT(ValueOfB(*rooms), 0);
}

TEST_F(StrategyStateTest, BelongsToOneStrategy) {
  const auto rooms = Make();
  rooms->Close();
  rooms->mutable_options().strategy = std::make_shared<Accelerating>();
  const absl::Status status = rooms->TryOpen();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kConfiguration);
  EXPECT_NE(Message(status).find("strategy fedavg"), std::string::npos) << Message(status);
  rooms->mutable_options().strategy = nullptr;
  EXPECT_TRUE(rooms->TryOpen().ok());
  // A state of the time when the mode said how updates are combined.
  rooms->Close();
  ASSERT_TRUE(rooms->store().SetSetting("strategy", "").ok());
  EXPECT_TRUE(rooms->TryOpen().ok());
}

}  // namespace
}  // namespace fedglm
