// What the round machine says to updates: claims that are refused, contents that are, sums that are not finite.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "aggregator/rounds/round_machine.h"
#include "tests/aggregator/rounds/open_round.h"

namespace fedglm {
namespace {

constexpr char kQ[] = "model.layers.0.self_attn.q_proj.lora_B";

class Claims : public RoundMachineTest {
 protected:
  void SetUp() override {
    rooms_ = Make();
    work_ = BeginRound(*rooms_, {"a", "b"});
    global_ = rooms_->Published(work_[0].adapter_sha256);
    good_ = RandomUpdate(global_, UpdateForm::kChangeOfB, 1);
  }
  // No update of this site's to send: nothing is decided.
  void ExpectNotItsOwn(const std::string& update_id) {
    UpdateClaim claim = rooms_->ClaimOf(work_[0], SerializeTensors(good_), 5);
    claim.update_id = update_id;
    const absl::Status status = rooms_->machine().CheckClaim("a", claim).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kRefused);
    EXPECT_NE(Message(status).find("no such update"), std::string::npos) << Message(status);
    EXPECT_EQ(ExitCodeOf(rooms_->machine().DecideUpdate("a", claim).status()), ExitCode::kRefused);
    EXPECT_EQ(Get(rooms_->store().FindUpdate(work_[0].update_id))->state, UpdateState::kExpected);
  }
  // Decided against, for good: the round does not wait for it.
  void ExpectClaimRefused(const std::function<void(UpdateClaim&)>& change, const std::string& reason) {
    const auto rooms = Make([](AggregatorOptions&) {}, "federation" + std::to_string(++federations_));
    const std::vector<TrainWork> work = BeginRound(*rooms, {"a", "b"});
    UpdateClaim claim = rooms->ClaimOf(work[0], SerializeTensors(good_), 5);
    change(claim);
    const UpdateRow row = Get(rooms->machine().CheckClaim("a", claim));
    EXPECT_EQ(row.state, UpdateState::kRefused) << reason;
    EXPECT_NE(row.reason.find(reason), std::string::npos) << row.reason;
    EXPECT_EQ(Get(rooms->machine().DecideUpdate("a", claim)).reason, row.reason);
    EXPECT_EQ(Get(rooms->store().FindUpdate(work[0].update_id))->state, UpdateState::kRefused);
    EXPECT_EQ(Get(rooms->store().Audit(0, 10)).back().action, "update refused");
    EXPECT_EQ(rooms->Send("b", work[1], good_, 5).state, UpdateState::kAccepted);
    EXPECT_EQ(rooms->Install("b", 0).round, 1);
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
  int federations_ = 0;
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
  ExpectNotItsOwn("../../etc/passwd");
  ExpectNotItsOwn(work_[1].update_id);  // b's
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
  const std::string reason = Get(rooms_->machine().CheckClaim("a", claim)).reason;
  EXPECT_LT(reason.size(), 400u);
  EXPECT_EQ(reason.find('\n'), std::string::npos);
  EXPECT_EQ(reason.find('\x1b'), std::string::npos);
  good_[nasty] = Matrix::Zero(1, 1);
  const UpdateRow row = rooms_->Send("b", work_[1], good_, 5);
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
  ExpectContentRefused(RandomUpdate(global_, UpdateForm::kFactors, 3), "lora_A");
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

// Each would be finite, and two of them would not. (A mean that is not finite: StrategyStateTest.)
TEST_F(Claims, AValueThatNoSumHasRoomForIsRefused) {
  TensorMap huge = good_;
  for (auto& [name, tensor] : huge) std::fill(tensor.values.begin(), tensor.values.end(), 3e38f);
  ExpectContentRefused(huge, "beyond 2^30");
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

}  // namespace
}  // namespace fedglm
