// Every way in which an adapter can be another one than the aggregator signed for this site, base and round.
#include <gmock/gmock.h>

#include "client/round_participant.h"
#include "tests/client/site_fixture.h"

namespace fedglm {
namespace {

using testing::HasSubstr;

class VerifyAdapterTest : public testing::Test {
 protected:
  void ExpectRefused(const Adapter& adapter, const std::string& because) const {
    const absl::Status status = VerifyAdapter(adapter, identity_, kBaseSha256, 3);
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kRefused) << because;
    EXPECT_THAT(Message(status), HasSubstr(because));
  }
  // Changed, and signed again by the aggregator's own key: only the change is wrong.
  Adapter SignedAgain(const std::function<void(Provenance&)>& change) const {
    Adapter adapter = good_;
    change(*adapter.provenance);
    adapter.provenance->signature =
        Base64UrlEncode(Get(Sign(signing_key_, SignedBytes(adapter.config, *adapter.provenance))));
    return adapter;
  }

  const TestAuthority authority_{};
  const SigningKeyPem signing_key_ = Get(GenerateSigningKey());
  const SiteIdentity identity_ = MakeIdentity(authority_, signing_key_);
  const Adapter good_ = SignedAdapter(SmallAdapter(), signing_key_, 3, kBaseSha256);
};

TEST_F(VerifyAdapterTest, WhatTheAggregatorSignedPassesAlsoAfterTheWire) {
  EXPECT_TRUE(VerifyAdapter(good_, identity_, kBaseSha256, 3).ok());
  EXPECT_TRUE(VerifyAdapter(Get(ParseAdapter(SerializeAdapter(good_))), identity_, kBaseSha256, 3).ok());
}

TEST_F(VerifyAdapterTest, WithoutTheAggregatorsSignatureItIsRefused) {
  Adapter adapter = good_;
  adapter.provenance.reset();
  ExpectRefused(adapter, "not signed");
  adapter = good_;
  adapter.provenance->signature.clear();
  ExpectRefused(adapter, "not signed");
  adapter.provenance->signature = "????";
  ExpectRefused(adapter, "signature is not the aggregator's");
  adapter.provenance->signature = Base64UrlEncode(std::string(64, 'x'));
  ExpectRefused(adapter, "signature is not the aggregator's");
  ExpectRefused(SignedAdapter(SmallAdapter(), Get(GenerateSigningKey()), 3, kBaseSha256),
                "signature is not the aggregator's");
}

TEST_F(VerifyAdapterTest, AWeightThatChangedIsRefused) {
  Adapter adapter = good_;
  adapter.modules.begin()->second.b.values[0] += 1e-6f;
  ExpectRefused(adapter, "weights are not those that were signed");
  adapter = good_;
  adapter.modules.erase(adapter.modules.begin());
  ExpectRefused(adapter, "weights are not those that were signed");
  adapter = good_;
  adapter.modules.begin()->second.a.values[0] = 9;
  adapter.provenance->weights_sha256 = WeightsSha256(adapter);
  ExpectRefused(adapter, "signature is not the aggregator's");
}

TEST_F(VerifyAdapterTest, AScaleThatChangedIsRefused) {
  Adapter adapter = good_;
  adapter.config.alpha *= 100;
  ExpectRefused(adapter, "signature is not the aggregator's");
  adapter = good_;
  adapter.config.use_rslora = true;
  ExpectRefused(adapter, "signature is not the aggregator's");
  adapter = good_;
  adapter.config.rank = 1;
  ExpectRefused(adapter, "signature is not the aggregator's");
}

TEST_F(VerifyAdapterTest, AnotherFederationRoundOrBaseIsRefused) {
  ExpectRefused(SignedAgain([](Provenance& p) { p.federation = "other"; }), "another federation");
  ExpectRefused(SignedAgain([](Provenance& p) { p.round = 2; }), "of round 2, not 3");
  ExpectRefused(SignedAgain([](Provenance& p) { p.base_sha256 = std::string(64, 'c'); }), "another base");
  ExpectRefused(SignedAgain([](Provenance& p) { p.base_sha256.clear(); }), "another base");
  EXPECT_TRUE(VerifyAdapter(SignedAgain([](Provenance&) {}), identity_, kBaseSha256, 3).ok())
      << "signed again, unchanged";
}

}  // namespace
}  // namespace fedglm
