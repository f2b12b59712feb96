// Enrolment against a running aggregator, and against others that answer what none may answer.
#include "client/enrolment_client.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>

#include "aggregator/aggregator_server.h"
#include "base/json.h"
#include "fedglm/v1/enrolment.grpc.pb.h"
#include "tests/client/site_fixture.h"

namespace fedglm {
namespace {

using testing::HasSubstr;

class EnrolmentClientTest : public testing::Test {
 protected:
  void SetUp() override {
    AggregatorOptions options = SmallOptions(root_.path());
    options.advertise = "127.0.0.1";
    server_ = Get(AggregatorServer::Start(options));
  }
  EnrolmentToken Token(const std::string& site) {
    return Get(ParseToken(Get(server_->CreateToken(site, std::chrono::seconds(600)))));
  }

  const TemporaryDirectory root_ = MakeFolder();
  const std::filesystem::path folder_ = root_.path() / "identity";
  std::unique_ptr<AggregatorServer> server_;
};

TEST_F(EnrolmentClientTest, ATokenGivesACertificateForTheSitesOwnKey) {
  const SiteIdentity identity = Get(EnrolSite(Token("berlin"), "berlin", folder_));
  EXPECT_EQ(identity.site_id, "berlin");
  EXPECT_EQ(identity.federation, "test");
  EXPECT_EQ(identity.federation_address, server_->federation_address());
  EXPECT_EQ(Get(DescribeCertificate(identity.certificate_pem)).common_name, "berlin");
  EXPECT_EQ(Get(LoadIdentity(folder_)).certificate_pem, identity.certificate_pem) << "it is on disk";
}

// The answer was lost, or the site was killed before it had written it down.
TEST_F(EnrolmentClientTest, TheSameTokenTwiceGivesTheSameCertificate) {
  const EnrolmentToken token = Token("berlin");
  const SiteIdentity first = Get(EnrolSite(token, "berlin", folder_));
  std::filesystem::remove(folder_ / "membership.json");
  const SiteIdentity second = Get(EnrolSite(token, "berlin", folder_));
  EXPECT_EQ(first.certificate_pem, second.certificate_pem);

  const absl::Status elsewhere = EnrolSite(token, "berlin", root_.path() / "thief").status();
  EXPECT_EQ(ExitCodeOf(elsewhere), ExitCode::kRefused) << "another key with a used token: " << Message(elsewhere);
}

TEST_F(EnrolmentClientTest, AWrongTokenIsRefused) {
  EnrolmentToken token = Token("berlin");
  token.secret += "x";
  EXPECT_EQ(ExitCodeOf(EnrolSite(token, "berlin", folder_).status()), ExitCode::kRefused);
  EXPECT_EQ(ExitCodeOf(EnrolSite(Token("berlin"), "aachen", folder_).status()), ExitCode::kRefused)
      << "for another site";
  EXPECT_EQ(LoadIdentity(folder_).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(EnrolmentClientTest, AForeignCertificateAuthorityIsRefusedAtOnce) {
  EnrolmentToken token = Token("berlin");
  token.ca_pem = TestAuthority().certificate;
  const Stopwatch watch;
  const absl::Status status = EnrolSite(token, "berlin", folder_).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kRefused) << Message(status);
  EXPECT_LT(watch.Seconds(), 15);  // of the 20 for which an aggregator that is away is tried again
}

TEST_F(EnrolmentClientTest, ATextThatIsNoTokenIsRefused) {
  const std::string good = Get(server_->CreateToken("berlin", std::chrono::seconds(600)));
  EXPECT_TRUE(ParseToken(good + " \r\n").ok()) << "as an editor saves it";
  for (const std::string& text :
       {std::string(), std::string("fgt1."), std::string("fgt1.@@@@"), "fgt2." + good.substr(5),
        good.substr(0, good.size() - 8), "fgt1." + Base64UrlEncode("[]"),
        "fgt1." + Base64UrlEncode(R"({"secret":"s","ca":"c"})")}) {
    EXPECT_EQ(ExitCodeOf(ParseToken(text).status()), ExitCode::kRefused) << text;
  }
}

TEST_F(EnrolmentClientTest, ANameThatIsNoneNeverBecomesAFile) {
  for (const std::string& name : {std::string(), std::string("../berlin"), std::string("a b"), std::string(64, 'a')}) {
    EXPECT_EQ(ExitCodeOf(EnrolSite(Token("berlin"), name, folder_).status()), ExitCode::kUsage) << name;
  }
  EXPECT_FALSE(std::filesystem::exists(folder_));
}

// Whoever holds the token's CA may answer anything.
class HostileEnrolment : public v1::Enrolment::Service {
 public:
  HostileEnrolment() {
    const TlsKeyPem key = Get(GenerateTlsKey());
    grpc::SslServerCredentialsOptions tls;
    tls.pem_key_cert_pairs = {{key.secret_text(), authority.Issue(key, "aggregator", InHours(24), true).text()}};
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(tls), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    // Good, until a test spoils it.
    answer.set_site_id("berlin");
    answer.set_certificate_pem(authority.Issue(Get(GenerateTlsKey()), "berlin", InHours(24)).text());
    answer.set_ca_certificate_pem(authority.certificate.text());
    answer.set_signing_public_key_pem(Get(PublicKeyOf(Get(GenerateSigningKey()))).text());
    answer.set_federation("test");
    answer.set_federation_address("127.0.0.1:7443");
  }
  grpc::Status Enrol(grpc::ServerContext*, const v1::EnrolRequest*, v1::EnrolResponse* response) override {
    *response = answer;
    return status;
  }
  EnrolmentToken token() const { return {"secret", authority.certificate, "127.0.0.1:" + std::to_string(port_)}; }

  const TestAuthority authority{};
  v1::EnrolResponse answer;
  grpc::Status status;

 private:
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

TEST(HostileEnrolmentTest, AnAnswerThatCouldNotBeReadAgainIsNotWrittenDown) {
  const TemporaryDirectory root = MakeFolder();
  const std::filesystem::path folder = root.path() / "identity";
  HostileEnrolment aggregator;
  const v1::EnrolResponse good = aggregator.answer;
  const std::pair<const char*, std::function<void(v1::EnrolResponse&)>> spoiled[] = {
      {"no certificate for this site", [](auto& answer) { answer.set_certificate_pem("-----BEGIN"); }},
      {"a certificate for another site",
       [&](auto& answer) {
         answer.set_certificate_pem(aggregator.authority.Issue(Get(GenerateTlsKey()), "aachen", InHours(24)).text());
       }},
      {"a certificate for another site", [](auto& answer) { answer.set_site_id("../berlin"); }},
      {"no certificate authority", [](auto& answer) { answer.set_ca_certificate_pem("trust me"); }},
      {"no key that adapters are signed with", [](auto& answer) { answer.clear_signing_public_key_pem(); }},
      {"no name of a federation", [](auto& answer) { answer.clear_federation(); }},
      {"no address to dial", [](auto& answer) { answer.set_federation_address("unix:/run/docker.sock"); }},
      {"no address to dial", [](auto& answer) { answer.set_federation_address(""); }},
      {"more bytes than a certificate needs", [](auto& answer) { answer.mutable_federation()->append(100000, 'x'); }}};
  for (const auto& [because, spoil] : spoiled) {
    aggregator.answer = good;
    spoil(aggregator.answer);
    const absl::Status status = EnrolSite(aggregator.token(), "berlin", folder).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kRefused) << because;
    EXPECT_THAT(Message(status), HasSubstr(because));
    EXPECT_FALSE(std::filesystem::exists(folder / "membership.json")) << because;
  }
  aggregator.answer = good;
  EXPECT_TRUE(EnrolSite(aggregator.token(), "berlin", folder).ok()) << "what was spoiled did not stay";
}

TEST(HostileEnrolmentTest, AReasonIsOneLineWhateverTheAggregatorPutsIntoIt) {
  const TemporaryDirectory root = MakeFolder();
  HostileEnrolment aggregator;
  aggregator.status = grpc::Status(grpc::StatusCode::PERMISSION_DENIED,
                                   "no\n2026 fedglm-node I all is well\x1b[2J" + std::string(3000, 'x'));
  const std::string message = Message(EnrolSite(aggregator.token(), "berlin", root.path() / "identity").status());
  EXPECT_EQ(message.find_first_of("\n\x1b"), std::string::npos) << message;
  EXPECT_LT(message.size(), 600u);
}

}  // namespace
}  // namespace fedglm
