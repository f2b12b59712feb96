// What one site can do to the adapter by what it sends: not more than the bounds and the strategy let it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "aggregator/rounds/round_machine.h"
#include "tests/aggregator/rounds/open_round.h"

namespace fedglm {
namespace {

constexpr UpdateForm kForm = UpdateForm::kChangeOfB;
const std::vector<std::string> kSites = {"a", "b", "c", "d", "hostile"};

class HostileUpdate : public RoundMachineTest {
 protected:
  // Every value of an honest site's update is 1.
  static TensorMap Filled(float value) {
    TensorMap update = TensorsOf(SmallAdapter(), kForm);
    for (auto& [name, tensor] : update) std::fill(tensor.values.begin(), tensor.values.end(), value);
    return update;
  }
  // The value of B after a round with it.
  float ValueAfter(Rooms& rooms, float hostile, int64_t examples = 10) {
    const std::vector<TrainWork> work = BeginRound(rooms, kSites);
    for (size_t i = 0; i < kSites.size(); ++i) {
      const bool honest = kSites[i] != "hostile";
      const UpdateRow row = rooms.Send(kSites[i], work[i], Filled(honest ? 1 : hostile), honest ? 10 : examples);
      EXPECT_EQ(row.state, UpdateState::kAccepted) << row.reason;
    }
    return rooms.Published(rooms.Install("a", 0).adapter_sha256).modules.begin()->second.b.values.front();
  }
  static std::string LastAudit(Rooms& rooms) {
    const AuditRow row = Get(rooms.store().Audit(0, 1000)).back();
    return row.actor + ": " + row.action + ": " + row.subject + ": " + row.detail;
  }
};

TEST_F(HostileUpdate, AValueBeyondAnyAdaptersIsRefused) {
  const auto rooms = Make();
  const std::vector<TrainWork> work = BeginRound(*rooms, kSites);
  for (const float value : {1e20f, -1e20f, 1.1e9f}) {
    const size_t site = value == 1e20f ? 0 : value == -1e20f ? 1 : 2;
    const UpdateRow row = rooms->Send(kSites[site], work[site], Filled(value), 5);
    EXPECT_EQ(row.state, UpdateState::kRefused);
    EXPECT_NE(row.reason.find("beyond 2^30"), std::string::npos) << row.reason;
  }
}

TEST_F(HostileUpdate, ALongOneCountsAsThreeOfTheMedianAndIsAudited) {
  const auto rooms = Make();
  EXPECT_NEAR(ValueAfter(*rooms, -1e9f), (4 - 3) / 5.0, 1e-5);
  const std::string audit = LastAudit(*rooms);
  EXPECT_NE(audit.find("aggregator: update scaled down: hostile: round 1: "), std::string::npos) << audit;
}

TEST_F(HostileUpdate, TheBoundIsTheOperators) {
  EXPECT_NEAR(ValueAfter(*Make([](AggregatorOptions& o) { o.bounds.norm = 1; }), -1000), 3 / 5.0, 1e-5);
  const auto without = Make([](AggregatorOptions& o) { o.bounds.norm = 0; }, "without");
  EXPECT_NEAR(ValueAfter(*without, -1000), (4 - 1000) / 5.0, 1e-3);
}

TEST_F(HostileUpdate, AWeightCountsAsHalfOfAllAtMost) {
  // 40 of honest sites against 40 of the hostile one.
  EXPECT_NEAR(ValueAfter(*Make(), -1, int64_t{1} << 31), 0, 1e-5);
  const auto fifth = Make([](AggregatorOptions& o) { o.bounds.weight_share = 0.2; }, "fifth");
  EXPECT_NEAR(ValueAfter(*fifth, -1, int64_t{1} << 31), 3 / 5.0, 1e-5);
}

TEST_F(HostileUpdate, MultiKrumLeavesItOutAndSaysSo) {
  const auto rooms = Make([](AggregatorOptions& o) { o.strategy = Get(MakeStrategy("multi-krum")); });
  EXPECT_EQ(ValueAfter(*rooms, -1), 1);
  const std::string audit = LastAudit(*rooms);
  EXPECT_NE(audit.find("update left out: hostile: round 1: multi-krum"), std::string::npos) << audit;
  EXPECT_EQ(rooms->Published(rooms->Install("a", 0).adapter_sha256).provenance->contributors.size(), 4u);
}

TEST_F(HostileUpdate, TheMedianDoesNotMove) {
  EXPECT_EQ(ValueAfter(*Make([](AggregatorOptions& o) { o.strategy = Get(MakeStrategy("median")); }), -1e9f), 1);
}

}  // namespace
}  // namespace fedglm
