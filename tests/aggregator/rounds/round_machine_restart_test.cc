// The round machine killed wherever a kill could fall: it goes on, and makes the same adapter byte for byte.
#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "aggregator/rounds/round_machine.h"
#include "tests/aggregator/rounds/open_round.h"

namespace fedglm {
namespace {

// Two rounds of three sites. `boundary` is called wherever a kill could fall; sites send in the order given.
std::string RunFederation(Rooms& rooms, UpdateForm mode, const std::vector<std::string>& order,
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

struct Way {
  UpdateForm form;
  const char* strategy;
};

class Killed : public RoundMachineTest, public testing::WithParamInterface<Way> {};

TEST_P(Killed, AtEveryBoundaryTheFinalAdapterIsTheSameByteForByte) {
  const auto mode = [](AggregatorOptions& o) {
    o.mode = GetParam().form;
    o.strategy = Get(MakeStrategy(GetParam().strategy));
    o.min_sites = 3;
  };
  const auto never = Make(mode, "never"), always = Make(mode, "always"), turned = Make(mode, "turned");
  const std::string expected = RunFederation(*never, GetParam().form, {"a", "b", "c"}, [] {});
  int kills = 0;
  EXPECT_EQ(RunFederation(*always, GetParam().form, {"a", "b", "c"},
                          [&] {
                            always->Restart();
                            ++kills;
                          }),
            expected);
  EXPECT_EQ(kills, 1 + 2 * (3 + 1 + 9 + 1));
  // Nor does it matter who is first.
  EXPECT_EQ(RunFederation(*turned, GetParam().form, {"c", "a", "b"}, [] {}), expected);
  EXPECT_EQ(Get(ParseAdapter(expected)).provenance->contributors.size(), 3u);
}

INSTANTIATE_TEST_SUITE_P(Ways, Killed,
                         testing::Values(Way{UpdateForm::kChangeOfB, "fedavg"}, Way{UpdateForm::kFactors, "stacking"},
                                         Way{UpdateForm::kChangeOfFactors, "fedadam"}),
                         [](const auto& info) { return info.param.strategy; });

// The instant between the last decision and the closing, made by deciding while no machine runs.
TEST_F(RoundMachineTest, KilledBeforeTheCloseItClosesAtTheNextStart) {
  const auto straight = Make([](AggregatorOptions&) {}, "straight"), killed = Make([](AggregatorOptions&) {}, "killed");
  std::string adapters[2];
  for (int i = 0; i < 2; ++i) {
    Rooms& rooms = i == 0 ? *straight : *killed;
    const std::vector<TrainWork> work = BeginRound(rooms, {"a", "b"});
    const TensorMap update = RandomUpdate(rooms.Published(work[0].adapter_sha256), UpdateForm::kChangeOfB, 1);
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
  const TensorMap update = RandomUpdate(rooms->Published(work[0].adapter_sha256), UpdateForm::kChangeOfB, 1);
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
