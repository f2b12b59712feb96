// The aggregator over real gRPC on loopback, with a plain client.
#include "aggregator/aggregator_server.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "base/json.h"
#include "base/tls.h"
#include "fedglm/v1/administration.grpc.pb.h"
#include "fedglm/v1/enrolment.grpc.pb.h"
#include "fedglm/v1/federation.grpc.pb.h"
#include "tests/aggregator/small_federation.h"
#include "tests/support/loopback_listener.h"
#include "tests/support/wait_until.h"

namespace fedglm {
namespace {

using grpc::StatusCode;
using std::chrono::hours;

constexpr size_t kMiB = 1 << 20;

// What a client shows and trusts.
struct Identity {
  std::string ca, key, certificate;
};

std::shared_ptr<grpc::Channel> Dial(const std::string& address, const Identity& identity) {
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = identity.ca;
  tls.pem_private_key = identity.key;
  tls.pem_cert_chain = identity.certificate;
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(tls), arguments);
}

// A context that ends by itself.
struct Call : grpc::ClientContext {
  Call() { set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(120)); }
};

class ServerTest : public testing::Test {
 protected:
  void SetUp() override {
    options_ = SmallOptions(folder_.path());
    options_.advertise = "127.0.0.1";
    Start();
  }
  void Start() {
    server_.reset();
    server_ = Get(AggregatorServer::Start(options_, *clock_));
  }

  struct Token {
    std::string secret, ca, address;
  };
  static Token ParseToken(const std::string& text) {
    const Json json = Get(ParseJson(Get(Base64UrlDecode(text.substr(5))), "token"));
    return {Get(RequireString(json, "secret")), Get(RequireString(json, "ca")), Get(RequireString(json, "address"))};
  }
  grpc::Status Enrol(const Token& token, const std::string& site, const std::string& request,
                     v1::EnrolResponse* response) {
    v1::EnrolRequest message;
    message.set_token_secret(token.secret);
    message.set_site_name(site);
    message.set_certificate_request_pem(request);
    Call call;
    return v1::Enrolment::NewStub(Dial(token.address, {token.ca}))->Enrol(&call, message, response);
  }
  Identity Enrolled(const std::string& site) {
    const Token token = ParseToken(Get(server_->CreateToken(site, std::chrono::seconds(60))));
    Identity identity = {token.ca, Get(GenerateTlsKey())};
    v1::EnrolResponse response;
    const grpc::Status status = Enrol(token, site, Get(MakeCertificateRequest(identity.key, site)), &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    identity.certificate = response.certificate_pem();
    return identity;
  }
  std::string StateFile(const std::string& name) { return Get(ReadFile(options_.state_dir / name)); }
  Identity Administrator() {
    return {StateFile("admin/ca.pem"), StateFile("admin/key.pem"), StateFile("admin/cert.pem")};
  }
  // A client certificate of the federation's own CA, whatever its name and lifetime.
  Identity Issued(const std::string& name, std::chrono::system_clock::time_point not_after, bool server = false) {
    Identity identity = {StateFile("ca.pem"), Get(GenerateTlsKey())};
    CertificateTerms terms;
    terms.common_name = name;
    terms.server = server;
    terms.not_before = not_after - hours(24);
    terms.not_after = not_after;
    identity.certificate = Get(
        IssueCertificate(StateFile("ca-key.pem"), identity.ca, Get(MakeCertificateRequest(identity.key, name)), terms));
    return identity;
  }

  std::unique_ptr<v1::Federation::Stub> Federation(const Identity& identity) {
    return v1::Federation::NewStub(Dial(server_->federation_address(), identity));
  }
  std::unique_ptr<v1::Administration::Stub> Administration(const Identity& identity) {
    return v1::Administration::NewStub(Dial(server_->federation_address(), identity));
  }
  static grpc::Status NextTask(v1::Federation::Stub& stub, int64_t installed_round, v1::Task* task,
                               uint32_t wait_ms = 60000) {
    v1::NextTaskRequest request;
    request.set_base_sha256(kBaseSha256);
    request.set_installed_round(installed_round);
    request.set_max_wait_ms(wait_ms);
    request.set_training_records(10);
    Call call;
    return stub.NextTask(&call, request, task);
  }
  static StatusCode CodeOfNextTask(v1::Federation::Stub& stub) {
    v1::Task task;
    return NextTask(stub, 0, &task, 0).error_code();
  }
  std::string Download(v1::Federation::Stub& stub, const std::string& sha256, uint64_t offset, grpc::Status* status) {
    v1::DownloadRequest request;
    request.set_sha256(sha256);
    request.set_offset(offset);
    Call call;
    const auto reader = stub.DownloadArtifact(&call, request);
    std::string bytes;
    for (v1::DownloadChunk chunk; reader->Read(&chunk);) bytes += chunk.data();
    *status = reader->Finish();
    return bytes;
  }

  TemporaryDirectory folder_ = MakeFolder();
  std::unique_ptr<ManualClock> clock_ = ClockFromNow();
  AggregatorOptions options_;
  std::unique_ptr<AggregatorServer> server_;
};

// Two sites that were told to train, and what they would send.
class UploadTest : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    for (const char* site : {"a", "b"}) stubs_.push_back(Federation(Enrolled(site)));
    BeginRound(0);
  }
  void BeginRound(int64_t installed_round) {
    v1::Task task;
    for (const auto& stub : stubs_) NextTask(*stub, installed_round, &task, 0);
    tasks_.clear();
    for (const auto& stub : stubs_) {
      ASSERT_TRUE(NextTask(*stub, installed_round, &task).ok());
      ASSERT_TRUE(task.has_train()) << task.ShortDebugString();
      tasks_.push_back(task.train());
    }
    grpc::Status status;
    global_ = Get(ParseAdapter(Download(*stubs_[0], tasks_[0].adapter().sha256(), 0, &status)));
    for (unsigned i = 0; i < 2; ++i) {
      updates_[i] = SerializeTensors(RandomUpdate(global_, AggregationMode::kFreezeA, i));
    }
  }
  v1::UploadHeader Header(size_t site, uint64_t offset = 0) const {
    v1::UploadHeader header;
    header.set_update_id(tasks_[site].update_id());
    header.set_round(tasks_[site].round());
    header.set_base_sha256(kBaseSha256);
    header.set_adapter_sha256(tasks_[site].adapter().sha256());
    header.set_mode(tasks_[site].mode());
    header.set_examples(5);
    header.set_bytes(updates_[site].size());
    header.set_sha256(Sha256Hex(updates_[site]));
    header.set_offset(offset);
    header.set_training_loss(2.0);
    return header;
  }
  static v1::UploadRequest Chunk(const std::string& bytes) {
    v1::UploadRequest request;
    request.set_chunk(bytes);
    return request;
  }
  static v1::UploadRequest Begin(const v1::UploadHeader& header) {
    v1::UploadRequest request;
    *request.mutable_header() = header;
    return request;
  }
  grpc::Status Upload(v1::Federation::Stub& stub, const std::vector<v1::UploadRequest>& messages,
                      v1::UploadReceipt* receipt) {
    Call call;
    const auto writer = stub.UploadUpdate(&call, receipt);
    for (const v1::UploadRequest& message : messages) {
      if (!writer->Write(message)) break;
    }
    writer->WritesDone();
    return writer->Finish();
  }
  grpc::Status Send(size_t site, v1::UploadReceipt* receipt) {
    return Upload(*stubs_[site], {Begin(Header(site)), Chunk(updates_[site])}, receipt);
  }
  v1::UploadState Query(size_t site) {
    v1::QueryUploadRequest request;
    request.set_update_id(tasks_[site].update_id());
    v1::UploadState state;
    Call call;
    const grpc::Status status = stubs_[site]->QueryUpload(&call, request, &state);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return state;
  }
  // Until the aggregator has so many bytes of it.
  void WaitForBytes(size_t site, uint64_t bytes) {
    WaitUntil([&] { return Query(site).received_bytes() >= bytes; });
    EXPECT_EQ(Query(site).received_bytes(), bytes);
  }
  std::vector<std::unique_ptr<v1::Federation::Stub>> stubs_;
  std::vector<v1::TrainTask> tasks_;
  Adapter global_;
  std::string updates_[2];
};

TEST_F(ServerTest, ASiteEnrolsWithATokenAndIsAMember) {
  const Token token = ParseToken(Get(server_->CreateToken("berlin", std::chrono::seconds(60))));
  EXPECT_EQ(token.address, server_->enrolment_address());
  const std::string key = Get(GenerateTlsKey()), request = Get(MakeCertificateRequest(key, "berlin"));
  v1::EnrolResponse response, again;
  grpc::Status status = Enrol(token, "berlin", request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.site_id(), "berlin");
  EXPECT_EQ(response.ca_certificate_pem(), token.ca);
  EXPECT_EQ(response.federation(), "test");
  EXPECT_EQ(response.federation_address(), server_->federation_address());
  EXPECT_EQ(response.signing_public_key_pem(), StateFile("signing-public.pem"));
  EXPECT_EQ(Get(DescribeCertificate(response.certificate_pem())).common_name, "berlin");
  ASSERT_TRUE(Enrol(token, "berlin", request, &again).ok());  // the first answer was lost
  EXPECT_EQ(again.certificate_pem(), response.certificate_pem());

  const Identity identity = {token.ca, key, response.certificate_pem()};
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
  const std::string other_ca = Get(MakeCaCertificate(Get(GenerateTlsKey()), "other CA", clock_->Now(), hours(24)));
  const Token foreign = {token.secret, other_ca, token.address};
  v1::EnrolResponse response;
  EXPECT_EQ(Enrol(foreign, "berlin", "x", &response).error_code(), StatusCode::UNAVAILABLE);
}

TEST_F(ServerTest, WithoutAGoodCertificateNobodyConnects) {
  const std::string ca = StateFile("ca.pem");
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

TEST_F(ServerTest, ACertificateThatExpiresWhileConnectedIsRefused) {
  const std::unique_ptr<Store> store = Get(Store::Open(options_.state_dir / "state.sqlite"));
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
    ASSERT_TRUE(store->PutNode(node).ok());
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

TEST_F(UploadTest, TwoSitesMakeARoundAndTheAdministratorSeesIt) {
  v1::UploadReceipt receipt;
  for (size_t site = 0; site < 2; ++site) {
    ASSERT_TRUE(Send(site, &receipt).ok());
    EXPECT_TRUE(receipt.accepted()) << receipt.reason();
    EXPECT_TRUE(Query(site).complete());
  }
  v1::Task task;
  ASSERT_TRUE(NextTask(*stubs_[0], 0, &task).ok());
  ASSERT_TRUE(task.has_install());
  EXPECT_EQ(task.install().round(), 1);
  grpc::Status status;
  const Adapter adapter = Get(ParseAdapter(Download(*stubs_[0], task.install().adapter().sha256(), 0, &status)));
  std::vector<std::string> digests = {Sha256Hex(updates_[0]), Sha256Hex(updates_[1])};
  EXPECT_THAT(adapter.provenance->contributors, testing::UnorderedElementsAreArray(digests));
  EXPECT_TRUE(VerifySignature(StateFile("signing-public.pem"), SignedBytes(adapter.config, *adapter.provenance),
                              Get(Base64UrlDecode(adapter.provenance->signature)))
                  .ok());
  EXPECT_EQ(adapter.provenance->weights_sha256, WeightsSha256(adapter));
  v1::EvaluationReport report;
  report.set_round(1);
  report.set_loss(1.5);
  report.set_tokens(100);
  v1::EvaluationAck ack;
  Call reporting;
  EXPECT_TRUE(stubs_[0]->ReportEvaluation(&reporting, report, &ack).ok());
  report.set_loss(0);
  report.set_tokens(0);
  report.set_failed(true);
  Call reporting_failure;
  EXPECT_TRUE(stubs_[1]->ReportEvaluation(&reporting_failure, report, &ack).ok());

  const auto administrator = Administration(Administrator());
  v1::ListRoundsResponse rounds;
  Call listing;
  ASSERT_TRUE(administrator->ListRounds(&listing, {}, &rounds).ok());
  ASSERT_GE(rounds.rounds_size(), 1);
  const v1::RoundSummary& round = rounds.rounds(0);
  EXPECT_EQ(round.state(), "done");
  EXPECT_EQ(round.cohort(), 2);
  EXPECT_EQ(round.accepted(), 2);
  EXPECT_EQ(round.examples(), 10);
  EXPECT_EQ(round.bytes_received(), updates_[0].size() + updates_[1].size());
  EXPECT_EQ(round.mean_training_loss(), 2.0);
  EXPECT_EQ(round.mean_evaluation_loss(), 1.5);
  EXPECT_EQ(round.adapter_sha256(), task.install().adapter().sha256());
  // Page after page; the round that is open now is the last.
  v1::ListRoundsRequest page;
  page.set_page_size(1);
  v1::ListRoundsResponse first;
  Call first_page;
  ASSERT_TRUE(administrator->ListRounds(&first_page, page, &first).ok());
  ASSERT_EQ(first.rounds_size(), 1);
  EXPECT_EQ(first.rounds(0).round(), 1);
  page.set_page_token("1");
  v1::ListRoundsResponse second;
  Call second_page;
  ASSERT_TRUE(administrator->ListRounds(&second_page, page, &second).ok());
  EXPECT_TRUE(second.next_page_token().empty());
  for (const v1::RoundSummary& later : second.rounds()) EXPECT_EQ(later.round(), 2);
  page.set_page_token("none of ours");
  Call bad_page;
  EXPECT_EQ(administrator->ListRounds(&bad_page, page, &second).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  v1::ListNodesResponse nodes;
  Call nodes_call;
  ASSERT_TRUE(administrator->ListNodes(&nodes_call, {}, &nodes).ok());
  ASSERT_EQ(nodes.nodes_size(), 2);
  EXPECT_EQ(nodes.nodes(0).bytes_received(), updates_[0].size());
  EXPECT_EQ(nodes.nodes(0).training_records(), 10);
}

TEST_F(UploadTest, ABrokenUploadGoesOnWhereItStoppedAlsoAfterARestart) {
  const size_t half = updates_[0].size() / 2;
  {
    Call call;
    v1::UploadReceipt receipt;
    const auto writer = stubs_[0]->UploadUpdate(&call, &receipt);
    ASSERT_TRUE(writer->Write(Begin(Header(0))));
    ASSERT_TRUE(writer->Write(Chunk(updates_[0].substr(0, half))));
    WaitForBytes(0, half);
    // Meanwhile nobody else may write to it.
    v1::UploadReceipt other;
    EXPECT_EQ(Send(0, &other).error_code(), StatusCode::ABORTED);
    call.TryCancel();
    EXPECT_FALSE(writer->Finish().ok());
  }
  const std::string old_address = server_->federation_address();
  options_.listen = old_address;
  Start();
  EXPECT_EQ(Query(0).received_bytes(), half);
  EXPECT_FALSE(Query(0).complete());
  v1::UploadReceipt receipt;
  const grpc::Status beyond = Upload(*stubs_[0], {Begin(Header(0, half + 1)), Chunk("x")}, &receipt);
  EXPECT_EQ(beyond.error_code(), StatusCode::INVALID_ARGUMENT);
  const grpc::Status status = Upload(*stubs_[0], {Begin(Header(0, half)), Chunk(updates_[0].substr(half))}, &receipt);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(receipt.accepted()) << receipt.reason();
  // The receipt was lost: again, and counted once.
  v1::UploadReceipt again;
  ASSERT_TRUE(Send(0, &again).ok());
  EXPECT_TRUE(again.accepted());
  EXPECT_EQ(Get(ReadFile(options_.state_dir / "spool" / (tasks_[0].update_id() + ".update"))), updates_[0]);
}

TEST_F(UploadTest, AnUploadThatEndsEarlyKeepsWhatArrived) {
  v1::UploadReceipt receipt;
  const grpc::Status status = Upload(*stubs_[0], {Begin(Header(0)), Chunk(updates_[0].substr(0, 10))}, &receipt);
  EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(Query(0).received_bytes(), 10u);
}

TEST_F(UploadTest, WhatBreaksTheProtocolIsRefused) {
  const auto code = [&](const std::vector<v1::UploadRequest>& messages) {
    v1::UploadReceipt receipt;
    return Upload(*stubs_[0], messages, &receipt).error_code();
  };
  EXPECT_EQ(code({Chunk("no header")}), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code({}), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code({Begin(Header(0)), Begin(Header(0))}), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code({Begin(Header(0)), Chunk(updates_[0] + "x")}), StatusCode::INVALID_ARGUMENT);
  v1::UploadHeader large = Header(0);
  large.set_bytes(kMiB + 1);
  EXPECT_EQ(code({Begin(large), Chunk(std::string(kMiB + 1, 'x'))}), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code({Begin(large), Chunk(std::string(3 * kMiB, 'x'))}), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Query(0).received_bytes(), 0u);
  EXPECT_TRUE(std::filesystem::is_empty(options_.state_dir / "spool"));
}

TEST_F(UploadTest, RefusedClaimsAreAnsweredForGoodAndLeaveNothingInTheSpool) {
  const auto refusal = [&](const v1::UploadHeader& header) {
    v1::UploadReceipt receipt;
    EXPECT_TRUE(Upload(*stubs_[0], {Begin(header), Chunk("bytes")}, &receipt).ok());
    EXPECT_FALSE(receipt.accepted());
    EXPECT_TRUE(receipt.final());
    return receipt.reason();
  };
  v1::UploadHeader header = Header(0);
  header.set_base_sha256("other");
  EXPECT_NE(refusal(header).find("base"), std::string::npos);
  header = Header(0);
  header.set_bytes(uint64_t{1} << 40);
  EXPECT_NE(refusal(header).find("limit"), std::string::npos);
  header = Header(0);
  header.set_update_id("../../somewhere");
  EXPECT_NE(refusal(header).find("no such update"), std::string::npos);
  EXPECT_NE(refusal(Header(1)).find("no such update"), std::string::npos);  // b's
  EXPECT_TRUE(std::filesystem::is_empty(options_.state_dir / "spool"));
}

TEST_F(UploadTest, BytesOfAnotherDigestAreToBeSentAgain) {
  v1::UploadReceipt receipt;
  std::string damaged = updates_[0];
  damaged.back() = static_cast<char>(damaged.back() ^ 1);
  EXPECT_EQ(Upload(*stubs_[0], {Begin(Header(0)), Chunk(damaged)}, &receipt).error_code(), StatusCode::ABORTED);
  EXPECT_EQ(Query(0).received_bytes(), 0u);
  ASSERT_TRUE(Send(0, &receipt).ok());
  EXPECT_TRUE(receipt.accepted());
}

TEST_F(UploadTest, ASiteThatIsRevokedIsRefusedInTheMiddleOfAnUpload) {
  Call call;
  v1::UploadReceipt receipt;
  const auto writer = stubs_[0]->UploadUpdate(&call, &receipt);
  ASSERT_TRUE(writer->Write(Begin(Header(0))));
  ASSERT_TRUE(writer->Write(Chunk(updates_[0].substr(0, 10))));
  WaitForBytes(0, 10);
  v1::RevokeNodeRequest revoke;
  revoke.set_site_id("a");
  revoke.set_reason("stolen");
  v1::RevokeNodeResponse revoked;
  Call revoking;
  ASSERT_TRUE(Administration(Administrator())->RevokeNode(&revoking, revoke, &revoked).ok());
  writer->Write(Chunk(updates_[0].substr(10)));
  writer->WritesDone();
  EXPECT_EQ(writer->Finish().error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(CodeOfNextTask(*stubs_[0]), StatusCode::PERMISSION_DENIED);
  // b is enough now.
  ASSERT_TRUE(Send(1, &receipt).ok());
  v1::Task task;
  ASSERT_TRUE(NextTask(*stubs_[1], 0, &task).ok());
  EXPECT_TRUE(task.has_install());
  EXPECT_TRUE(std::filesystem::is_empty(options_.state_dir / "spool"));
}

TEST_F(UploadTest, AnUploadThatIsLateIsToldSoAndLeavesNothingInTheSpool) {
  v1::UploadReceipt receipt, late;
  ASSERT_TRUE(Send(1, &receipt).ok());
  Call call;
  const auto writer = stubs_[0]->UploadUpdate(&call, &late);
  ASSERT_TRUE(writer->Write(Begin(Header(0))));
  ASSERT_TRUE(writer->Write(Chunk(updates_[0].substr(0, 10))));
  WaitForBytes(0, 10);  // the server has the beginning: one that comes after the end is refused as of a closed round
  clock_->Advance(std::chrono::seconds(61));
  v1::Task task;
  ASSERT_TRUE(NextTask(*stubs_[1], 0, &task).ok());
  ASSERT_TRUE(task.has_install());  // the round is closed
  writer->Write(Chunk(updates_[0].substr(10)));
  writer->WritesDone();
  const grpc::Status status = writer->Finish();
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_FALSE(late.accepted());
  EXPECT_TRUE(late.final());
  EXPECT_NE(late.reason().find("late"), std::string::npos) << late.reason();
  EXPECT_TRUE(std::filesystem::is_empty(options_.state_dir / "spool"));
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
  clock_->Advance(std::chrono::seconds(1));
  std::thread poll([&] {
    v1::Task task;
    NextTask(*stub, 0, &task, 120000);
  });
  // The server has it: the site was seen now.
  const std::unique_ptr<Store> store = Get(Store::Open(options_.state_dir / "state.sqlite"));
  const auto arrived = [&] {
    return Get(store->FindNode("berlin"))->last_seen_unix_ms == UnixMilliseconds(clock_->Now());
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

}  // namespace
}  // namespace fedglm
