#include "adapter/provenance.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "base/digest.h"
#include "base/json.h"
#include "base/tls.h"
#include "tests/adapter/sample_adapter.h"

namespace fedglm {
namespace {

TEST(Provenance, ComesBackFromJson) {
  const Json json = ProvenanceToJson(SampleProvenance());
  EXPECT_EQ(json["version"], 1);
  const absl::StatusOr<Provenance> provenance = ProvenanceFromJson(*ParseJson(DumpJson(json), "provenance"));
  ASSERT_TRUE(provenance.ok()) << Message(provenance.status());
  EXPECT_EQ(*provenance, SampleProvenance());
}

AdapterConfig SampleConfig() {
  AdapterConfig config;
  config.rank = 4;
  config.alpha = 0.1;
  config.use_rslora = true;
  return config;
}

// Sites of another version sign and verify this text: it must never change.
TEST(SignedBytes, AreThisText) {
  EXPECT_EQ(SignedBytes(SampleConfig(), SampleProvenance()),
            "fedglm adapter provenance 1\n"
            "rank 4\n"
            "alpha 0.10000000000000001\n"
            "rslora 1\n"
            "base " +
                std::string(64, 'a') +
                "\n"
                "federation \"radiology \\\"north\\\"\"\n"
                "round 7\n"
                "mode \"freeze-a\"\n"
                "contributor \"" +
                std::string(64, 'b') +
                "\"\n"
                "contributor \"" +
                std::string(64, 'c') +
                "\"\n"
                "weights " +
                std::string(64, 'd') + "\n");
}

TEST(SignedBytes, EveryFieldAndTheOrderOfContributorsMatter) {
  const std::function<void(Provenance&)> changes[] = {
      [](Provenance&) {},
      [](Provenance& p) { p.base_sha256[63] = 'b'; },
      [](Provenance& p) { p.base_sha256.clear(); },
      [](Provenance& p) { p.federation = "radiology"; },
      [](Provenance& p) { p.federation = "radiology \"north\"\nround 8"; },
      [](Provenance& p) { p.round = 8; },
      [](Provenance& p) { p.round = -7; },
      [](Provenance& p) { p.mode = "average"; },
      [](Provenance& p) { p.mode = "freeze-a\"\ncontributor \"x"; },
      [](Provenance& p) { std::swap(p.contributors[0], p.contributors[1]); },
      [](Provenance& p) { p.contributors.pop_back(); },
      [](Provenance& p) { p.contributors.push_back(p.contributors.back()); },
      [](Provenance& p) { p.contributors = {p.contributors[0] + "\"\ncontributor \"" + p.contributors[1]}; },
      [](Provenance& p) { p.weights_sha256[0] = 'e'; },
  };
  std::set<std::string> texts;
  for (const auto& change : changes) {
    Provenance provenance = SampleProvenance();
    change(provenance);
    texts.insert(SignedBytes(SampleConfig(), provenance));
  }
  EXPECT_EQ(texts.size(), std::size(changes)) << "two provenances have one text";
  Provenance provenance = SampleProvenance();
  provenance.signature = "other";
  EXPECT_EQ(texts.count(SignedBytes(SampleConfig(), provenance)), 1u) << "the signature is not part of what is signed";
}

TEST(SignedBytes, WhatScalesTheWeightsMatters) {
  std::set<std::string> texts;
  for (const int change : {0, 1, 2, 3}) {
    AdapterConfig config = SampleConfig();
    if (change == 1) config.rank = 8;
    if (change == 2) config.alpha = 0.2;
    if (change == 3) config.use_rslora = false;
    texts.insert(SignedBytes(config, SampleProvenance()));
  }
  EXPECT_EQ(texts.size(), 4u);
}

TEST(SignedBytes, ASignatureOverThemIsVerifiedAndNoChangeSurvivesIt) {
  const SigningKeyPem key = *GenerateSigningKey();
  const PublicKeyPem public_key = *PublicKeyOf(key);
  Provenance provenance = SampleProvenance();
  provenance.signature = Base64UrlEncode(*Sign(key, SignedBytes(SampleConfig(), provenance)));
  const std::string text = DumpJson(ProvenanceToJson(provenance));
  const absl::StatusOr<Provenance> received = ProvenanceFromJson(*ParseJson(text, "provenance"));
  ASSERT_TRUE(received.ok());
  const std::string signature = *Base64UrlDecode(received->signature);
  EXPECT_TRUE(VerifySignature(public_key, SignedBytes(SampleConfig(), *received), signature).ok());
  Provenance changed = *received;
  changed.contributors[1][5] = 'f';
  EXPECT_EQ(ExitCodeOf(VerifySignature(public_key, SignedBytes(SampleConfig(), changed), signature)),
            ExitCode::kRefused);
}

}  // namespace
}  // namespace fedglm
