#include "aggregator/membership/enrolment.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "proto/site_name.h"
#include "tests/aggregator/rounds/small_federation.h"

namespace fedglm {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

class EnrolmentTest : public testing::Test {
 protected:
  // The secret inside a new token.
  std::string Token(const std::string& site, seconds lifetime = seconds(60)) {
    const std::string text = Get(enrolment_.CreateToken(site, lifetime, "aggregator:7444", "admin:first"));
    EXPECT_EQ(text.substr(0, 5), "fgt1.");
    const Json json = Get(ParseJson(Get(Base64UrlDecode(text.substr(5))), "token"));
    EXPECT_EQ(Get(RequireString(json, "ca")), authority_.certificate_pem().text());
    EXPECT_EQ(Get(RequireString(json, "address")), "aggregator:7444");
    return Get(RequireString(json, "secret"));
  }
  static std::string Request() { return Get(MakeCertificateRequest(Get(GenerateTlsKey()), "whatever")); }
  ExitCode Code(const std::string& secret, const std::string& site, const std::string& request = Request()) {
    return ExitCodeOf(enrolment_.Enrol(secret, site, request).status());
  }
  TemporaryDirectory folder_ = MakeFolder();
  std::unique_ptr<ManualClock> clock_ = ClockFromNow();
  AggregatorOptions options_;
  std::unique_ptr<Store> store_ = Get(Store::Open(folder_.path() / "state.sqlite"));
  CertificateAuthority authority_ = Get(CertificateAuthority::Open(folder_.path(), "test", *clock_));
  Enrolment enrolment_{options_, *store_, authority_, *clock_};
};

TEST_F(EnrolmentTest, ATokenAndARequestGiveACertificate) {
  options_.certificate_days = 30;
  const Enrolment::Membership member = Get(enrolment_.Enrol(Token("berlin"), "berlin", Request()));
  EXPECT_EQ(member.site_id, "berlin");
  const CertificateFacts facts = Get(DescribeCertificate(member.certificate_pem));
  EXPECT_EQ(facts.common_name, "berlin");
  EXPECT_LE(facts.not_after - clock_->Now(), hours(24 * 30));
  EXPECT_GT(facts.not_after - clock_->Now(), hours(24 * 30 - 1));
  const NodeRow node = *store_->FindNode("berlin");
  EXPECT_EQ(node.serial, facts.serial_hex);
  EXPECT_EQ(node.certificate_pem, member.certificate_pem);
  const std::vector<AuditRow> audit = Get(store_->Audit(0, 10));
  ASSERT_EQ(audit.size(), 2u);
  EXPECT_EQ(audit[0].action, "token created");
  EXPECT_EQ(audit[1].action, "site enrolled");
}

TEST_F(EnrolmentTest, TheSecretIsNowhereInTheStateFolder) {
  const std::string secret = Token("berlin");
  Get(enrolment_.Enrol(secret, "berlin", Request()));
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_.path())) {
    if (!entry.is_regular_file()) continue;
    EXPECT_EQ(Get(ReadFile(entry.path())).find(secret), std::string::npos) << entry.path();
  }
}

TEST_F(EnrolmentTest, AWrongTokenIsRefused) {
  Token("berlin");
  EXPECT_EQ(Code("wrong", "berlin"), ExitCode::kRefused);
  EXPECT_EQ(Code("", "berlin"), ExitCode::kRefused);
  EXPECT_FALSE(store_->FindNode("berlin").has_value());
}

TEST_F(EnrolmentTest, ATokenExpires) {
  const std::string secret = Token("", seconds(60));
  clock_->Advance(seconds(59));
  EXPECT_EQ(Code(secret, "berlin", "no request"), ExitCode::kBadInputFile);  // still good: the request is looked at
  clock_->Advance(seconds(1));
  EXPECT_EQ(Code(secret, "berlin"), ExitCode::kRefused);
}

TEST_F(EnrolmentTest, ATokenForAnotherSiteIsRefused) {
  const std::string secret = Token("berlin");
  EXPECT_EQ(Code(secret, "aachen"), ExitCode::kRefused);
  EXPECT_EQ(Code(secret, "berlin"), ExitCode::kDone);  // and was not used up
}

TEST_F(EnrolmentTest, ATokenIsUsedOnce) {
  const std::string secret = Token("");
  EXPECT_EQ(Code(secret, "berlin"), ExitCode::kDone);
  EXPECT_EQ(Code(secret, "berlin"), ExitCode::kRefused);  // another key
  EXPECT_EQ(Code(secret, "aachen"), ExitCode::kRefused);
}

TEST_F(EnrolmentTest, TheSameTokenAndRequestAgainGiveTheSameCertificate) {
  const std::string secret = Token("berlin"), request = Request();
  const Enrolment::Membership first = Get(enrolment_.Enrol(secret, "berlin", request));
  const Enrolment::Membership again = Get(enrolment_.Enrol(secret, "berlin", request));
  EXPECT_EQ(again.certificate_pem, first.certificate_pem);
  EXPECT_EQ(store_->Nodes().size(), 1u);
}

TEST_F(EnrolmentTest, ABadRequestDoesNotUseTheTokenUp) {
  const std::string secret = Token("berlin");
  EXPECT_NE(Code(secret, "berlin", "rubbish"), ExitCode::kDone);
  EXPECT_FALSE(store_->FindNode("berlin").has_value());
  EXPECT_EQ(Code(secret, "berlin"), ExitCode::kDone);
}

TEST_F(EnrolmentTest, ANameThatIsTakenNeedsATokenMadeForIt) {
  EXPECT_EQ(Code(Token(""), "berlin"), ExitCode::kDone);
  const std::string serial = store_->FindNode("berlin")->serial;
  EXPECT_EQ(Code(Token(""), "berlin"), ExitCode::kRefused);
  EXPECT_EQ(store_->FindNode("berlin")->serial, serial);
  EXPECT_EQ(Code(Token("berlin"), "berlin"), ExitCode::kDone);
  EXPECT_NE(store_->FindNode("berlin")->serial, serial);
}

// A revoked site that repeats its old request stays revoked; only a new token brings it back.
TEST_F(EnrolmentTest, AnOldTokenDoesNotUndoARevocation) {
  const std::string secret = Token("berlin"), request = Request();
  Get(enrolment_.Enrol(secret, "berlin", request));
  ASSERT_TRUE(store_->RevokeNode("berlin").ok());
  Get(enrolment_.Enrol(secret, "berlin", request));
  EXPECT_TRUE(store_->FindNode("berlin")->revoked);
  Get(enrolment_.Enrol(Token("berlin"), "berlin", Request()));
  EXPECT_FALSE(store_->FindNode("berlin")->revoked);
}

TEST_F(EnrolmentTest, SiteNamesArePlain) {
  for (const std::string& name : {std::string(), std::string("admin:first"), std::string("a/b"), std::string("a b"),
                                  std::string("a\n"), std::string("ä"), std::string(64, 'a')}) {
    EXPECT_EQ(Code(Token(""), name), ExitCode::kUsage) << name;
    if (!name.empty()) {
      EXPECT_EQ(ExitCodeOf(enrolment_.CreateToken(name, seconds(60), "a:1", "x").status()), ExitCode::kUsage) << name;
    }
  }
  EXPECT_TRUE(IsSiteName(std::string(63, 'a')));
  EXPECT_TRUE(IsSiteName("Branch-5"));
}

}  // namespace
}  // namespace fedglm
