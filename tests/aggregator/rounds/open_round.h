// For the tests of the round machine: a federation with a clock by hand, and a first round that is open.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/aggregator/rounds/small_federation.h"

namespace fedglm {

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
      rooms.store().TouchNode(site, UnixMilliseconds(clock_->Now()), 10, 0);
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

}  // namespace fedglm
