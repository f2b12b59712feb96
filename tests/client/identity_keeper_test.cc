// A site that remains a member for years: against a running aggregator, and against others that do not play their part.
#include "client/identity_keeper.h"

#include <gmock/gmock.h>

#include "aggregator/aggregator_server.h"
#include "base/json.h"
#include "base/log.h"
#include "client/federation_client.h"
#include "tests/client/scripted_aggregator.h"

namespace fedglm {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::Not;

constexpr hours kDay(24);

class KeeperTest : public testing::Test {
 protected:
  void SetUp() override {
    options_.site = "berlin";
    options_.state_dir = root_.path() / "node";
    options_.token_file = root_.path() / "token";
    ASSERT_TRUE(InitializeLogging({.program = "test", .level = LogLevel::kInfo, .file = root_.path() / "log"}).ok());
  }
  void TearDown() override { EXPECT_TRUE(InitializeLogging({.program = "test", .level = LogLevel::kWarning}).ok()); }
  std::filesystem::path Folder() const { return options_.state_dir / "identity"; }
  std::filesystem::path Artifacts() const { return options_.state_dir / "artifacts"; }
  std::string Log() const { return ReadFile(root_.path() / "log").value_or(""); }
  static size_t Count(const std::string& text, const std::string& part) {
    size_t count = 0;
    for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
    return count;
  }
  static absl::Status Calls(FederationClient& client) {
    return client.NextTask({{0, ""}, {}, kBaseSha256, 10}, std::chrono::milliseconds(0)).status();
  }
  absl::Status Calls(const SiteIdentity& identity) const {
    FederationClient client(identity, Artifacts());
    return Calls(client);
  }

  const TemporaryDirectory root_ = MakeFolder();
  NodeOptions options_;
};

// An aggregator whose clock can be set, and with it the dates of what it issues. All others go by the system's.
class MemberTest : public KeeperTest {
 protected:
  // With a clock that is behind by so much.
  void StartAggregator(std::chrono::milliseconds behind, const std::string& folder = "aggregator") {
    server_.reset();
    clock_ = std::make_unique<ManualClock>(std::chrono::system_clock::now() - behind);
    ASSERT_TRUE(MakeDirectories(root_.path() / folder).ok());
    AggregatorOptions options = SmallOptions(root_.path() / folder);
    options.advertise = "127.0.0.1";
    options.certificate_days = certificate_days_;
    server_ = Get(AggregatorServer::Start(options, *clock_));
  }
  std::string Token() { return Get(server_->CreateToken("berlin", seconds(600))); }

  int64_t certificate_days_ = 365;
  std::unique_ptr<ManualClock> clock_;
  std::unique_ptr<AggregatorServer> server_;
};

TEST_F(MemberTest, RenewsAtTwoThirdsOfTheLifeAndGoesOnWithTheNextCertificate) {
  StartAggregator(300 * kDay);
  IdentityKeeper keeper(options_, Token());
  const SiteIdentity old = Get(keeper.Begin());
  clock_->Advance(300 * kDay);
  FederationClient client(old, Artifacts());
  const std::optional<SiteIdentity> renewed = keeper.Renew(old, client);
  ASSERT_TRUE(renewed.has_value()) << Log();
  EXPECT_NE(renewed->key_pem, old.key_pem);
  EXPECT_EQ(renewed->token_sha256, old.token_sha256);
  EXPECT_GT(Get(DescribeCertificate(renewed->certificate_pem)).not_after, InHours(24 * 364));
  EXPECT_EQ(Get(LoadIdentity(Folder())).certificate_pem, renewed->certificate_pem) << "it is on disk";
  EXPECT_TRUE(Calls(client).ok()) << "the old one is good for now";
  EXPECT_TRUE(Calls(old).ok()) << "also after a new dial";
  client.Adopt(*renewed);
  EXPECT_TRUE(Calls(client).ok());
  EXPECT_EQ(ExitCodeOf(Calls(old)), ExitCode::kRefused);
  EXPECT_THAT(Log(), HasSubstr("is renewed"));
  EXPECT_FALSE(keeper.Renew(*renewed, client).has_value()) << "not again";
}

// Killed after the answer was written down and before it was used; then, before it was used for the first time, again.
TEST_F(MemberTest, StartedAgainItGoesOnWithTheNextCertificate) {
  StartAggregator(300 * kDay);
  {
    IdentityKeeper keeper(options_, Token());
    const SiteIdentity old = Get(keeper.Begin());
    FederationClient client(old, Artifacts());
    ASSERT_TRUE(keeper.Renew(old, client).has_value());
  }
  IdentityKeeper keeper(options_, "");
  EXPECT_TRUE(Calls(Get(keeper.Begin())).ok());
}

TEST_F(MemberTest, DoesNotAskBeforeItIsTime) {
  StartAggregator(200 * kDay);
  IdentityKeeper keeper(options_, Token());
  const SiteIdentity identity = Get(keeper.Begin());
  FederationClient client(identity, Artifacts());
  EXPECT_FALSE(keeper.Renew(identity, client).has_value());
  EXPECT_FALSE(std::filesystem::exists(NextIdentityFolder(Folder())));
  EXPECT_THAT(Log(), Not(HasSubstr("renewed")));
}

TEST_F(MemberTest, ANewTokenEnrolsItAnewAndTheSameOneDoesNot) {
  StartAggregator(hours(0));
  const std::string first_token = Token(), second_token = Token();
  const SiteIdentity first = Get(IdentityKeeper(options_, first_token + "\n").Begin());
  EXPECT_EQ(first.token_sha256, Sha256Hex(first_token));
  for (const std::string& same : {std::string(), std::string("\n"), first_token, first_token + " \r\n"}) {
    EXPECT_EQ(Get(IdentityKeeper(options_, same).Begin()).certificate_pem, first.certificate_pem);
  }
  const SiteIdentity second = Get(IdentityKeeper(options_, second_token).Begin());
  EXPECT_NE(second.certificate_pem, first.certificate_pem);
  EXPECT_NE(second.key_pem, first.key_pem);
  EXPECT_EQ(second.token_sha256, Sha256Hex(second_token));
  EXPECT_TRUE(Calls(second).ok());
  EXPECT_EQ(ExitCodeOf(Calls(first)), ExitCode::kRefused);
  EXPECT_EQ(Get(IdentityKeeper(options_, second_token).Begin()).certificate_pem, second.certificate_pem);
}

// The aggregator has used the token up, and the site was killed before it had the answer.
TEST_F(MemberTest, ANewTokenWhoseAnswerWasLostGivesTheSameCertificate) {
  StartAggregator(hours(0));
  const SiteIdentity first = Get(IdentityKeeper(options_, Token()).Begin());
  const std::string token = Token();
  const std::filesystem::path next = NextIdentityFolder(Folder()), asked = root_.path() / "asked";
  Get(LoadOrMakeRequest(next, Get(LoadOrMakeSiteKey(next)), "berlin"));
  std::filesystem::copy(next, asked);
  const SiteIdentity answered = Get(EnrolSiteAnew(Get(ParseToken(token)), "berlin", Folder()));
  std::filesystem::copy(asked, next);
  std::filesystem::remove_all(Folder());
  ASSERT_TRUE(SaveIdentity(first, Folder()).ok());
  EXPECT_EQ(Get(IdentityKeeper(options_, token).Begin()).certificate_pem, answered.certificate_pem);
}

TEST_F(MemberTest, AUselessNewTokenLeavesTheIdentityAndIsSaidOnce) {
  StartAggregator(hours(0));
  const SiteIdentity first = Get(IdentityKeeper(options_, Token()).Begin());
  const EnrolmentToken token = Get(ParseToken(Token()));
  const std::string guessed =
      "fgt1." +
      Base64UrlEncode(DumpJson(Json{{"secret", "guess"}, {"ca", token.ca_pem.text()}, {"address", token.address}}));
  ManualClock clock(std::chrono::system_clock::now());
  IdentityKeeper keeper(options_, guessed, clock);
  const SiteIdentity kept = Get(keeper.Begin());
  EXPECT_EQ(kept.certificate_pem, first.certificate_pem);
  EXPECT_TRUE(Calls(kept).ok());
  clock.Advance(minutes(67));
  EXPECT_FALSE(keeper.EnrolAnew(kept).has_value());
  EXPECT_EQ(Count(Log(), "the present identity is kept"), 1u) << Log();

  IdentityKeeper with_rubbish(options_, "not a token");
  EXPECT_EQ(Get(with_rubbish.Begin()).certificate_pem, first.certificate_pem);
  EXPECT_FALSE(with_rubbish.EnrolAnew(first).has_value());
  EXPECT_EQ(Count(Log(), "this is no enrolment token"), 1u) << Log();
}

TEST_F(MemberTest, WhenToldToItReadsTheTokenFileAgain) {
  StartAggregator(hours(0));
  const std::string first_token = Token();
  IdentityKeeper keeper(options_, first_token);
  const SiteIdentity first = Get(keeper.Begin());
  keeper.LookAgain();
  EXPECT_FALSE(keeper.EnrolAnew(first).has_value()) << "there is no file";
  ASSERT_TRUE(WriteFileAtomically(options_.token_file, first_token + "\n").ok());
  keeper.LookAgain();
  EXPECT_FALSE(keeper.EnrolAnew(first).has_value());
  ASSERT_TRUE(WriteFileAtomically(options_.token_file, Token() + "\n").ok());
  EXPECT_FALSE(keeper.EnrolAnew(first).has_value()) << "it has not looked";
  keeper.LookAgain();
  const std::optional<SiteIdentity> second = keeper.EnrolAnew(first);
  ASSERT_TRUE(second.has_value()) << Log();
  EXPECT_TRUE(Calls(*second).ok());
  EXPECT_FALSE(keeper.EnrolAnew(*second).has_value());
}

// As a program before the renewal of certificates wrote it: which token it was is not known.
TEST_F(MemberTest, AnOldMembershipTakesANewTokenOnlyOfAnotherAuthority) {
  StartAggregator(hours(0));
  SiteIdentity old = Get(IdentityKeeper(options_, Token()).Begin());
  old.token_sha256.clear();
  ASSERT_TRUE(SaveIdentity(old, Folder()).ok());
  EXPECT_EQ(Get(IdentityKeeper(options_, Token()).Begin()).certificate_pem, old.certificate_pem);
  StartAggregator(hours(0), "another-aggregator");
  const SiteIdentity moved = Get(IdentityKeeper(options_, Token()).Begin());
  EXPECT_NE(moved.ca_pem, old.ca_pem);
  EXPECT_TRUE(Calls(moved).ok());
}

TEST_F(MemberTest, AnOldMembershipTakesANewTokenWhenItsCertificateHasExpired) {
  certificate_days_ = 1;
  StartAggregator(2 * kDay);
  SiteIdentity old = Get(EnrolSite(Get(ParseToken(Token())), "berlin", Folder()));
  old.token_sha256.clear();
  ASSERT_TRUE(SaveIdentity(old, Folder()).ok());
  EXPECT_FALSE(CheckValidity(old, InHours(0)).ok());
  clock_->Advance(2 * kDay);
  const SiteIdentity anew = Get(IdentityKeeper(options_, Token()).Begin());
  EXPECT_EQ(anew.ca_pem, old.ca_pem);
  EXPECT_TRUE(Calls(anew).ok());
}

TEST_F(MemberTest, WithoutATokenANewSiteCannotBegin) {
  StartAggregator(hours(0));
  EXPECT_EQ(ExitCodeOf(IdentityKeeper(options_, "").Begin().status()), ExitCode::kConfiguration);
  EXPECT_EQ(ExitCodeOf(IdentityKeeper(options_, "rubbish").Begin().status()), ExitCode::kRefused);
}

class ScriptedRenewalTest : public KeeperTest {
 protected:
  void SetUp() override {
    KeeperTest::SetUp();
    present_ = aggregator_.identity;
    present_.certificate_pem = aggregator_.authority.Issue(present_.key_pem, "berlin", InHours(10));  // of 48
    ASSERT_TRUE(SaveIdentity(present_, Folder()).ok());
    aggregator_.next_task = [](grpc::ServerContext*, v1::Task*) { return grpc::Status::OK; };
  }
  // What the CA answers to the request, or to another key, or for another name, …
  static CertificatePem Issue(const TestAuthority& authority, const std::string& request, const std::string& name,
                              std::chrono::system_clock::time_point not_after) {
    CertificateTerms terms;
    terms.common_name = name;
    terms.not_before = not_after - hours(100);
    terms.not_after = not_after;
    return Get(IssueCertificate(authority.key, authority.certificate, request, terms));
  }
  void Answer(const std::function<CertificatePem(const std::string& request)>& issue) {
    aggregator_.renew = [issue](const v1::RenewalRequest& request, v1::Renewal* renewal) {
      renewal->set_certificate_pem(issue(request.certificate_request_pem()).text());
      return grpc::Status::OK;
    };
  }
  void AnswerWell() {
    Answer([&](const std::string& request) { return Issue(aggregator_.authority, request, "berlin", InHours(99)); });
  }
  CertificatePem OnDisk() { return Get(LoadIdentity(Folder())).certificate_pem; }

  ScriptedAggregator aggregator_;
  SiteIdentity present_;
  ManualClock clock_{std::chrono::system_clock::now()};
};

TEST_F(ScriptedRenewalTest, AnOlderAggregatorIsAskedOnceAnHourAndItIsSaidOnce) {
  IdentityKeeper keeper(options_, "", clock_);
  FederationClient client(present_, Artifacts());
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(keeper.Renew(present_, client).has_value());
  EXPECT_EQ(aggregator_.renewal_requests.size(), 1u);
  clock_.Advance(minutes(59));
  EXPECT_FALSE(keeper.Renew(present_, client).has_value());
  EXPECT_EQ(aggregator_.renewal_requests.size(), 1u);
  clock_.Advance(minutes(8));
  EXPECT_FALSE(keeper.Renew(present_, client).has_value());
  EXPECT_EQ(aggregator_.renewal_requests.size(), 2u);
  EXPECT_EQ(Count(Log(), "is not renewed"), 1u) << Log();
  EXPECT_THAT(Log(), HasSubstr("before certificates were renewed"));
  EXPECT_EQ(OnDisk(), present_.certificate_pem);
  EXPECT_TRUE(Calls(client).ok()) << "the rounds go on";

  AnswerWell();
  keeper.LookAgain();
  EXPECT_TRUE(keeper.Renew(present_, client).has_value()) << "SIGHUP: at once";
}

TEST_F(ScriptedRenewalTest, AfterALostAnswerTheSameRequestIsSentAgain) {
  IdentityKeeper keeper(options_, "", clock_);
  FederationClient client(present_, Artifacts());
  aggregator_.renew = [](const v1::RenewalRequest&, v1::Renewal*) {
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "the power failed");
  };
  EXPECT_FALSE(keeper.Renew(present_, client).has_value());
  AnswerWell();
  IdentityKeeper after_a_new_start(options_, "", clock_);
  const std::optional<SiteIdentity> renewed = after_a_new_start.Renew(Get(after_a_new_start.Begin()), client);
  ASSERT_TRUE(renewed.has_value()) << Log();
  EXPECT_TRUE(CheckUsable(*renewed, InHours(0)).ok());
  EXPECT_EQ(OnDisk(), renewed->certificate_pem);
  ASSERT_EQ(aggregator_.renewal_requests.size(), 2u);
  EXPECT_EQ(aggregator_.renewal_requests[0], aggregator_.renewal_requests[1]);
}

TEST_F(ScriptedRenewalTest, AnAnswerThatCouldNotBeShownIsNotKept) {
  const TlsKeyPem stolen = Get(GenerateTlsKey());
  const std::pair<const char*, std::function<CertificatePem(const std::string&)>> answers[] = {
      {"no certificate", [](const std::string&) { return CertificatePem("-----BEGIN"); }},
      {"another key", [&](const std::string&) { return aggregator_.authority.Issue(stolen, "berlin", InHours(99)); }},
      {"another site",
       [&](const std::string& request) { return Issue(aggregator_.authority, request, "aachen", InHours(99)); }},
      {"another authority",
       [](const std::string& request) { return Issue(TestAuthority(), request, "berlin", InHours(99)); }},
      {"expired",
       [&](const std::string& request) { return Issue(aggregator_.authority, request, "berlin", InHours(-1)); }}};
  FederationClient client(present_, Artifacts());
  for (const auto& [because, answer] : answers) {
    Answer(answer);
    IdentityKeeper keeper(options_, "", clock_);
    EXPECT_FALSE(keeper.Renew(present_, client).has_value()) << because;
    EXPECT_THAT(Log(), HasSubstr(because));
    EXPECT_EQ(OnDisk(), present_.certificate_pem) << because;
    EXPECT_FALSE(std::filesystem::exists(NextIdentityFolder(Folder()))) << "the next request is another one";
  }
}

TEST_F(ScriptedRenewalTest, ADamagedNextKeyIsMadeAnew) {
  AnswerWell();
  ASSERT_TRUE(MakeDirectories(NextIdentityFolder(Folder()), 0700).ok());
  ASSERT_TRUE(WriteFileAtomically(NextIdentityFolder(Folder()) / "key.pem", std::string(200, '\0')).ok());
  IdentityKeeper keeper(options_, "", clock_);
  FederationClient client(present_, Artifacts());
  EXPECT_FALSE(keeper.Renew(present_, client).has_value());
  clock_.Advance(minutes(67));
  EXPECT_TRUE(keeper.Renew(present_, client).has_value()) << Log();
}

// Its clock is far ahead of the aggregator's: every certificate seems to be in its last third.
TEST_F(ScriptedRenewalTest, ASiteWhoseClockIsWrongDoesNotAskAgainAndAgain) {
  Answer([&](const std::string& request) { return Issue(aggregator_.authority, request, "berlin", InHours(5)); });
  IdentityKeeper keeper(options_, "", clock_);
  FederationClient client(present_, Artifacts());
  std::optional<SiteIdentity> renewed = keeper.Renew(present_, client);
  ASSERT_TRUE(renewed.has_value()) << Log();
  client.Adopt(*renewed);
  EXPECT_FALSE(keeper.Renew(*renewed, client).has_value());
  EXPECT_EQ(aggregator_.renewal_requests.size(), 1u);
}

TEST_F(ScriptedRenewalTest, WarnsOnceADay) {
  IdentityKeeper keeper(options_, "", clock_);
  SiteIdentity identity = present_;
  identity.certificate_pem = aggregator_.authority.Issue(identity.key_pem, "berlin", InHours(24 * 29));
  keeper.WarnOfExpiry(identity);
  EXPECT_EQ(Count(Log(), "ends in"), 0u) << "it is not valid yet, and not due";
  keeper.WarnOfExpiry(present_);
  keeper.WarnOfExpiry(present_);
  EXPECT_EQ(Count(Log(), "ends in 0 days"), 1u) << Log();
}

}  // namespace
}  // namespace fedglm
