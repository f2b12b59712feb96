// Who may talk to the aggregator over real gRPC on loopback, what a site may read, and how a server starts and stops.
#include "aggregator/aggregator_server.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/aggregator/running_server.h"
#include "tests/support/loopback_listener.h"
#include "tests/support/wait_until.h"

namespace fedglm {
namespace {

using grpc::StatusCode;
using std::chrono::hours;

TEST_F(ServerTest, ASiteEnrolsWithATokenAndIsAMember) {
  const Token token = ParseToken(Get(server_->CreateToken("berlin", std::chrono::seconds(60))));
  EXPECT_EQ(token.address, server_->enrolment_address());
  const TlsKeyPem key = Get(GenerateTlsKey());
  const std::string request = Get(MakeCertificateRequest(key, "berlin"));
  v1::EnrolResponse response, again;
  grpc::Status status = Enrol(token, "berlin", request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.site_id(), "berlin");
  EXPECT_EQ(response.ca_certificate_pem(), token.ca.text());
  EXPECT_EQ(response.federation(), "test");
  EXPECT_EQ(response.federation_address(), server_->federation_address());
  EXPECT_EQ(response.signing_public_key_pem(), StateFile("signing-public.pem"));
  EXPECT_EQ(Get(DescribeCertificate(CertificatePem(response.certificate_pem()))).common_name, "berlin");
  ASSERT_TRUE(Enrol(token, "berlin", request, &again).ok());  // the first answer was lost
  EXPECT_EQ(again.certificate_pem(), response.certificate_pem());

  const Identity identity = {token.ca, key, CertificatePem(response.certificate_pem())};
  const auto stub = v1::Federation::NewStub(Dial(response.federation_address(), identity));
  v1::Task task;
  status = NextTask(*stub, -1, &task);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_TRUE(task.has_install());
  const std::string adapter = Download(*stub, task.install().adapter().sha256(), 0, &status);
  EXPECT_EQ(adapter.size(), task.install().adapter().bytes());
  EXPECT_EQ(Sha256Hex(adapter), task.install().adapter().sha256());
}

TEST_F(ServerTest, AWrongUsedOrForeignTokenIsRefused) {
  Token token = ParseToken(Get(server_->CreateToken("berlin", std::chrono::seconds(60))));
  const std::string request = Get(MakeCertificateRequest(Get(GenerateTlsKey()), "berlin"));
  v1::EnrolResponse response;
  EXPECT_EQ(Enrol(token, "aachen", request, &response).error_code(), StatusCode::PERMISSION_DENIED);
  const std::string secret = token.secret;
  token.secret = "guess";
  EXPECT_EQ(Enrol(token, "berlin", request, &response).error_code(), StatusCode::PERMISSION_DENIED);
  token.secret = secret;
  EXPECT_TRUE(Enrol(token, "berlin", request, &response).ok());
  const std::string other = Get(MakeCertificateRequest(Get(GenerateTlsKey()), "berlin"));
  EXPECT_EQ(Enrol(token, "berlin", other, &response).error_code(), StatusCode::PERMISSION_DENIED);
  const Token expired = ParseToken(Get(server_->CreateToken("berlin", std::chrono::seconds(60))));
  clock_->Advance(std::chrono::seconds(61));
  EXPECT_EQ(Enrol(expired, "berlin", other, &response).error_code(), StatusCode::PERMISSION_DENIED);
}

TEST_F(ServerTest, AClientThatDoesNotTrustTheServerDoesNotTalkToIt) {
  const Token token = ParseToken(Get(server_->CreateToken("berlin", std::chrono::seconds(60))));
  const CaCertificatePem other_ca = Get(MakeCaCertificate(Get(GenerateTlsKey()), "other CA", clock_->Now(), hours(24)));
  const Token foreign = {token.secret, other_ca, token.address};
  v1::EnrolResponse response;
  EXPECT_EQ(Enrol(foreign, "berlin", "x", &response).error_code(), StatusCode::UNAVAILABLE);
}

TEST_F(ServerTest, WithoutAGoodCertificateNobodyConnects) {
  const CaCertificatePem ca(StateFile("ca.pem"));
  EXPECT_EQ(CodeOfNextTask(*Federation({ca})), StatusCode::UNAVAILABLE) << "none";
  Call call;
  v1::FederationStatus out;
  EXPECT_EQ(Administration({ca})->GetStatus(&call, {}, &out).error_code(), StatusCode::UNAVAILABLE) << "none";

  const TemporaryDirectory elsewhere = MakeFolder();
  const CertificateAuthority other = Get(CertificateAuthority::Open(elsewhere.path(), "test", *clock_));
  Identity foreign = {ca, Get(GenerateTlsKey())};
  const std::string request = Get(MakeCertificateRequest(foreign.key, "admin:first"));
  foreign.certificate = Get(other.IssueClient(request, "admin:first", hours(1)));
  EXPECT_EQ(CodeOfNextTask(*Federation(foreign)), StatusCode::UNAVAILABLE) << "of another CA";

  const auto now = std::chrono::system_clock::now();
  EXPECT_EQ(CodeOfNextTask(*Federation(Issued("berlin", now - hours(1)))), StatusCode::UNAVAILABLE) << "expired";
  EXPECT_EQ(CodeOfNextTask(*Federation(Issued("berlin", now + hours(48)))), StatusCode::UNAVAILABLE) << "not valid yet";
  const Identity of_server = Issued("berlin", now + hours(1), true);
  EXPECT_EQ(CodeOfNextTask(*Federation(of_server)), StatusCode::UNAVAILABLE) << "a server's";
  EXPECT_EQ(CodeOfNextTask(*Federation(Enrolled("berlin"))), StatusCode::OK);
}

TEST_F(ServerTest, ACertificateOfNoMemberOrAnOlderOneIsRefused) {
  const auto now = std::chrono::system_clock::now();
  EXPECT_EQ(CodeOfNextTask(*Federation(Issued("stranger", now + hours(1)))), StatusCode::PERMISSION_DENIED);
  const auto first = Federation(Enrolled("berlin"));
  EXPECT_EQ(CodeOfNextTask(*first), StatusCode::OK);
  EXPECT_EQ(CodeOfNextTask(*Federation(Enrolled("berlin"))), StatusCode::OK);
  EXPECT_EQ(CodeOfNextTask(*first), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(CodeOfNextTask(*Federation(Administrator())), StatusCode::PERMISSION_DENIED);
}

TEST_F(ServerTest, AMemberRenewsItsCertificateOverTheOldOneWhichIsGoodUntilTheNewOneIsShown) {
  const Identity old = Enrolled("berlin");
  const auto over_old = Federation(old);
  Identity renewed = {old.ca, Get(GenerateTlsKey())};
  v1::RenewalRequest request;
  request.set_certificate_request_pem(Get(MakeCertificateRequest(renewed.key, "admin:evil")));
  const auto renew = [&] {
    Call call;
    v1::Renewal renewal;
    const grpc::Status status = over_old->RenewCertificate(&call, request, &renewal);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return CertificatePem(renewal.certificate_pem());
  };
  renewed.certificate = renew();
  EXPECT_EQ(renew(), renewed.certificate) << "the first answer was lost";
  EXPECT_EQ(Get(DescribeCertificate(renewed.certificate)).common_name, "berlin");
  EXPECT_EQ(CodeOfNextTask(*over_old), StatusCode::OK);
  EXPECT_EQ(CodeOfNextTask(*Federation(old)), StatusCode::OK) << "nor is it refused after a new dial";
  EXPECT_EQ(CodeOfNextTask(*Federation(renewed)), StatusCode::OK);
  EXPECT_EQ(CodeOfNextTask(*over_old), StatusCode::PERMISSION_DENIED);
  Start();
  EXPECT_EQ(CodeOfNextTask(*Federation(renewed)), StatusCode::OK) << "it is in the database";
}

TEST_F(ServerTest, ARevokedSiteOrAnAdministratorGetsNoCertificate) {
  const auto site = Federation(Enrolled("berlin"));
  EXPECT_EQ(CodeOfNextTask(*site), StatusCode::OK);
  v1::RevokeNodeRequest revoke;
  revoke.set_site_id("berlin");
  v1::RevokeNodeResponse revoked;
  Call revoking;
  ASSERT_TRUE(Administration(Administrator())->RevokeNode(&revoking, revoke, &revoked).ok());
  v1::RenewalRequest request;
  request.set_certificate_request_pem(Get(MakeCertificateRequest(Get(GenerateTlsKey()), "berlin")));
  v1::Renewal renewal;
  Call of_site, of_administrator;
  EXPECT_EQ(site->RenewCertificate(&of_site, request, &renewal).error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(Federation(Administrator())->RenewCertificate(&of_administrator, request, &renewal).error_code(),
            StatusCode::PERMISSION_DENIED);
}

TEST_F(ServerTest, ACertificateThatExpiresWhileConnectedIsRefused) {
  std::unique_ptr<v1::Federation::Stub> stub;
  std::chrono::system_clock::time_point not_after;
  // On a busy machine the first call may come when a short life is over: then once more with a longer one.
  for (std::chrono::seconds life(2); stub == nullptr && life < std::chrono::minutes(1); life *= 2) {
    not_after = std::chrono::system_clock::now() + life;
    const Identity identity = Issued("berlin", not_after);
    NodeRow node;
    node.site_id = "berlin";
    node.serial = Get(DescribeCertificate(identity.certificate)).serial_hex;
    node.certificate_pem = identity.certificate;
    server_.reset();  // members are not made behind its back
    ASSERT_TRUE(Get(Store::Open(options_.state_dir / "state.sqlite"))->PutNode(node).ok());
    Start();
    stub = Federation(identity);
    if (CodeOfNextTask(*stub) != StatusCode::OK) stub.reset();
  }
  ASSERT_NE(stub, nullptr) << "no connection while its certificate was good";
  std::this_thread::sleep_until(not_after + std::chrono::milliseconds(50));
  EXPECT_EQ(CodeOfNextTask(*stub), StatusCode::PERMISSION_DENIED);
}

TEST_F(ServerTest, AnotherBaseIsRefused) {
  const auto stub = Federation(Enrolled("berlin"));
  v1::NextTaskRequest request;
  request.set_base_sha256(std::string(64, 'c'));
  v1::Task task;
  Call call;
  const grpc::Status status = stub->NextTask(&call, request, &task);
  EXPECT_EQ(status.error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_NE(status.error_message().find("base"), std::string::npos);
}

TEST_F(ServerTest, DownloadsGoOnFromAnOffset) {
  const auto stub = Federation(Enrolled("berlin"));
  v1::Task task;
  ASSERT_TRUE(NextTask(*stub, -1, &task).ok());
  const std::string sha256 = task.install().adapter().sha256();
  grpc::Status status;
  const std::string whole = Download(*stub, sha256, 0, &status);
  ASSERT_TRUE(status.ok());
  for (const size_t offset : {size_t{1}, whole.size() - 1, whole.size()}) {
    EXPECT_EQ(Download(*stub, sha256, offset, &status), whole.substr(offset));
    EXPECT_TRUE(status.ok());
  }
  for (const uint64_t offset : {uint64_t{whole.size() + 1}, uint64_t{1} << 63}) {
    EXPECT_EQ(Download(*stub, sha256, offset, &status), "");
    EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  }
  for (const std::string& name : {std::string("../ca-key.pem"), std::string(64, 'a'), std::string()}) {
    EXPECT_EQ(Download(*stub, name, 0, &status), "");
    EXPECT_EQ(status.error_code(), StatusCode::PERMISSION_DENIED) << name;
  }
}

TEST_F(ServerTest, AdministrationNeedsAnAdministratorsCertificate) {
  const auto site = Administration(Enrolled("berlin")), administrator = Administration(Administrator());
  // The code of stub.method(request).
  const auto code = [](auto& stub, auto method, const auto& request, auto response) {
    Call call;
    return (stub.*method)(&call, request, &response).error_code();
  };
  using Stub = v1::Administration::Stub;
  for (const bool allowed : {false, true}) {
    Stub& stub = allowed ? *administrator : *site;
    const StatusCode expected = allowed ? StatusCode::OK : StatusCode::PERMISSION_DENIED;
    EXPECT_EQ(code(stub, &Stub::GetStatus, v1::GetStatusRequest(), v1::FederationStatus()), expected);
    EXPECT_EQ(code(stub, &Stub::ListRounds, v1::ListRoundsRequest(), v1::ListRoundsResponse()), expected);
    EXPECT_EQ(code(stub, &Stub::ListNodes, v1::ListNodesRequest(), v1::ListNodesResponse()), expected);
    EXPECT_EQ(code(stub, &Stub::CreateToken, v1::CreateTokenRequest(), v1::CreateTokenResponse()), expected);
    EXPECT_EQ(code(stub, &Stub::ListAudit, v1::ListAuditRequest(), v1::ListAuditResponse()), expected);
    v1::RevokeNodeRequest revoke;
    revoke.set_site_id("berlin");
    EXPECT_EQ(code(stub, &Stub::RevokeNode, revoke, v1::RevokeNodeResponse()), expected);
  }
}

TEST_F(ServerTest, APortInUseIsUnreachableAndHarmsNothing) {
  const LoopbackListener taken;
  const std::string in_use = taken.host_and_port();
  const std::string addresses = StateFile("addresses.json");
  server_.reset();
  for (std::string AggregatorOptions::*port : {&AggregatorOptions::listen, &AggregatorOptions::enrolment_listen}) {
    AggregatorOptions options = options_;
    options.*port = in_use;
    const absl::Status status = AggregatorServer::Start(options).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kUnreachable);
    EXPECT_NE(Message(status).find(in_use), std::string::npos) << Message(status);
    EXPECT_EQ(StateFile("addresses.json"), addresses);
  }
  Start();
}

TEST_F(ServerTest, TwoAggregatorsDoNotShareAState) {
  const absl::Status second = AggregatorServer::Start(options_).status();
  EXPECT_EQ(ExitCodeOf(second), ExitCode::kUnreachable);
  EXPECT_NE(Message(second).find("state"), std::string::npos) << Message(second);
  // But a token can be made beside a running one.
  const Token token = ParseToken(Get(CreateTokenOffline(options_, "berlin", std::chrono::seconds(60))));
  v1::EnrolResponse response;
  EXPECT_TRUE(Enrol(token, "berlin", Get(MakeCertificateRequest(Get(GenerateTlsKey()), "berlin")), &response).ok());
}

TEST_F(ServerTest, StoppingEndsLongPollsSoon) {
  const auto stub = Federation(Enrolled("berlin"));
  const auto administration = Administration(Administrator());
  std::thread poll([&] {
    v1::Task task;
    NextTask(*stub, 0, &task, 120000);
  });
  const auto arrived = [&] {
    v1::ListNodesResponse nodes;
    Call call;
    return administration->ListNodes(&call, {}, &nodes).ok() && nodes.nodes(0).asked_seconds_ago() >= 0;
  };
  EXPECT_TRUE(WaitUntil(arrived));
  const Stopwatch watch;
  server_->Stop();
  EXPECT_LT(watch.Seconds(), 60);  // of the 120 that it would wait
  poll.join();
}

TEST(AggregatorServer, ATokenNeedsAStateThatWasStartedOnce) {
  const TemporaryDirectory folder = MakeFolder();
  AggregatorOptions options;
  options.state_dir = folder.path() / "nothing";
  const absl::Status status = CreateTokenOffline(options, "berlin", std::chrono::seconds(60)).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kConfiguration);
}

// Half of a backup must not begin another federation under the name of the first.
TEST_F(ServerTest, AUsedStateFolderThatLacksAFileDoesNotStart) {
  for (const char* name : {"ca-key.pem", "ca.pem", "signing-key.pem", "signing-public.pem", "state.sqlite"}) {
    server_.reset();
    const std::filesystem::path path = options_.state_dir / name, away = folder_.path() / "away";
    std::filesystem::rename(path, away);
    const absl::Status status = AggregatorServer::Start(options_, *clock_).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kConfiguration);
    EXPECT_NE(Message(status).find(std::string(name) + ": missing from a state folder that is in use"),
              std::string::npos)
        << Message(status);
    EXPECT_EQ(ExitCodeOf(CreateTokenOffline(options_, "berlin", std::chrono::seconds(60)).status()),
              ExitCode::kConfiguration);
    EXPECT_FALSE(std::filesystem::exists(path)) << "made anew";
    std::filesystem::rename(away, path);
  }
  Start();
}

}  // namespace
}  // namespace fedglm
