// A member's next certificate: issued while the present one is good, and its only one from when it is first shown.
#include "aggregator/membership/renewal.h"

#include <gtest/gtest.h>

#include "aggregator/membership/enrolment.h"
#include "base/json.h"
#include "tests/aggregator/rounds/small_federation.h"

namespace fedglm {
namespace {

using std::chrono::hours;

TEST(WhichCertificate, IsThePresentOneTheNextOneOrNoneOfThem) {
  NodeRow node;
  node.serial = "0A";
  EXPECT_EQ(WhichCertificate(node, "0A"), MemberCertificate::kPresent);
  EXPECT_EQ(WhichCertificate(node, "0B"), MemberCertificate::kOther);
  EXPECT_EQ(WhichCertificate(node, ""), MemberCertificate::kOther) << "no next one is not one without a number";
  node.next_serial = "0B";
  EXPECT_EQ(WhichCertificate(node, "0A"), MemberCertificate::kPresent);
  EXPECT_EQ(WhichCertificate(node, "0B"), MemberCertificate::kNext);
  EXPECT_EQ(WhichCertificate(node, "0b"), MemberCertificate::kOther);
  EXPECT_EQ(WhichCertificate(node, "0"), MemberCertificate::kOther);
}

class RenewalTest : public testing::Test {
 protected:
  void SetUp() override { present_ = Serial(Enrol()); }
  CertificatePem Enrol() {
    const std::string token =
        Get(enrolment_.CreateToken("berlin", std::chrono::seconds(60), "aggregator:7444", "admin:first"));
    const Json json = Get(ParseJson(Get(Base64UrlDecode(token.substr(5))), "token"));
    return Get(enrolment_.Enrol(Get(RequireString(json, "secret")), "berlin", Request())).certificate_pem;
  }
  static std::string Request() { return Get(MakeCertificateRequest(Get(GenerateTlsKey()), "whatever")); }
  static std::string Serial(const CertificatePem& certificate) {
    return Get(DescribeCertificate(certificate)).serial_hex;
  }
  std::string Renewed(const std::string& request = Request()) {
    return Serial(Get(enrolment_.Renew("berlin", request)));
  }
  NodeRow Node() { return *store_->FindNode("berlin"); }
  // A call that shows it.
  ExitCode Shows(const std::string& serial) { return ExitCodeOf(AcceptCertificate(*store_, Node(), serial, 5)); }
  std::vector<AuditRow> Renewals() {
    std::vector<AuditRow> found;
    for (const AuditRow& row : Get(store_->Audit(0, 100))) {
      if (row.action == "certificate renewed") found.push_back(row);
    }
    return found;
  }

  TemporaryDirectory folder_ = MakeFolder();
  std::unique_ptr<ManualClock> clock_ = ClockFromNow();
  AggregatorOptions options_;
  std::unique_ptr<Store> store_ = Get(Store::Open(folder_.path() / "state.sqlite"));
  CertificateAuthority authority_ = Get(CertificateAuthority::Open(folder_.path(), "test", *clock_));
  Enrolment enrolment_{options_, *store_, authority_, *clock_};
  std::string present_;
};

TEST_F(RenewalTest, TheNextCertificateIsForTheSameNameAndForAWholeLifeFromNow) {
  options_.certificate_days = 30;
  clock_->Advance(hours(24 * 20));
  const CertificateFacts facts = Get(DescribeCertificate(Get(enrolment_.Renew("berlin", Request()))));
  EXPECT_EQ(facts.common_name, "berlin");
  EXPECT_NE(facts.serial_hex, present_);
  EXPECT_GT(facts.not_after - clock_->Now(), hours(24 * 30 - 1));
}

TEST_F(RenewalTest, ThePresentOneIsGoodUntilTheNextOneIsShownAndNotAfterwards) {
  const std::string next = Renewed();
  EXPECT_EQ(Shows(present_), ExitCode::kDone);
  EXPECT_EQ(Node().serial, present_) << "nothing is decided yet";
  EXPECT_EQ(Renewals().size(), 0u);
  EXPECT_EQ(Shows(next), ExitCode::kDone);
  EXPECT_EQ(Node().serial, next);
  EXPECT_EQ(Node().next_serial, "");
  EXPECT_EQ(Serial(Node().certificate_pem), next);
  EXPECT_EQ(Shows(present_), ExitCode::kRefused);
  EXPECT_EQ(Shows(next), ExitCode::kDone);
  ASSERT_EQ(Renewals().size(), 1u);
  EXPECT_EQ(Renewals()[0].subject, "berlin");
  EXPECT_EQ(Renewals()[0].unix_ms, 5);
  EXPECT_NE(Renewals()[0].detail.find(next), std::string::npos);
}

// Two calls over one new connection: both have read the site's row before either was decided.
TEST_F(RenewalTest, TwoCallsThatShowTheNextOneAtATimeAreBothAccepted) {
  const std::string next = Renewed();
  const NodeRow before = Node();
  EXPECT_TRUE(AcceptCertificate(*store_, before, next, 5).ok());
  EXPECT_TRUE(AcceptCertificate(*store_, before, next, 6).ok());
  EXPECT_EQ(Renewals().size(), 1u);
}

// The first answer was lost.
TEST_F(RenewalTest, TheSameRequestAgainGivesTheSameCertificate) {
  const std::string request = Request();
  const std::string next = Renewed(request);
  EXPECT_EQ(Renewed(request), next);
  EXPECT_EQ(Node().next_serial, next);
  EXPECT_EQ(Node().next_request_sha256, Sha256Hex(request));
}

TEST_F(RenewalTest, AnotherRequestReplacesTheNextOne) {
  const std::string first = Renewed(), second = Renewed();
  EXPECT_NE(first, second);
  EXPECT_EQ(Shows(first), ExitCode::kRefused);
  EXPECT_EQ(Shows(present_), ExitCode::kDone);
  EXPECT_EQ(Shows(second), ExitCode::kDone);
}

// Of the next one as of any other: the same request does not bring back a certificate that is the present one now.
TEST_F(RenewalTest, AfterItWasAdoptedTheSameRequestGivesANewOne) {
  const std::string request = Request();
  const std::string next = Renewed(request);
  EXPECT_EQ(Shows(next), ExitCode::kDone);
  EXPECT_NE(Renewed(request), next);
}

TEST_F(RenewalTest, ARevokedOrUnknownSiteGetsNone) {
  ASSERT_TRUE(store_->RevokeNode("berlin").ok());
  EXPECT_EQ(ExitCodeOf(enrolment_.Renew("berlin", Request()).status()), ExitCode::kRefused);
  EXPECT_EQ(ExitCodeOf(enrolment_.Renew("aachen", Request()).status()), ExitCode::kRefused);
  EXPECT_EQ(Node().next_serial, "");
}

TEST_F(RenewalTest, NobodyGetsMoreThanEightInAnHour) {
  for (int i = 0; i < 8; ++i) Renewed();
  const std::string request = Request();
  EXPECT_EQ(ExitCodeOf(enrolment_.Renew("berlin", request).status()), ExitCode::kRefused);
  clock_->Advance(hours(1));
  EXPECT_TRUE(enrolment_.Renew("berlin", request).ok());
  EXPECT_FALSE(enrolment_.Renew("berlin", std::string(20000, 'x')).ok());
}

TEST_F(RenewalTest, ARequestThatIsNoneChangesNothing) {
  const std::string next = Renewed();
  EXPECT_FALSE(enrolment_.Renew("berlin", "rubbish").ok());
  EXPECT_FALSE(enrolment_.Renew("berlin", "").ok());
  EXPECT_EQ(Node().next_serial, next);
}

// A stolen site comes back with a new token: what the thief has asked for meanwhile is worth nothing.
TEST_F(RenewalTest, ANewEnrolmentForgetsTheNextOne) {
  const std::string next = Renewed(), anew = Serial(Enrol());
  EXPECT_EQ(Shows(next), ExitCode::kRefused);
  EXPECT_EQ(Shows(present_), ExitCode::kRefused);
  EXPECT_EQ(Shows(anew), ExitCode::kDone);
  EXPECT_EQ(Node().next_request_sha256, "");
}

}  // namespace
}  // namespace fedglm
