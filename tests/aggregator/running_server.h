// For the tests of the aggregator over real gRPC on loopback: a server in a folder, and a plain client.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "aggregator/aggregator_server.h"
#include "base/json.h"
#include "base/tls.h"
#include "fedglm/v1/administration.grpc.pb.h"
#include "fedglm/v1/enrolment.grpc.pb.h"
#include "fedglm/v1/federation.grpc.pb.h"
#include "tests/aggregator/rounds/small_federation.h"

namespace fedglm {

// What a client shows and trusts.
struct Identity {
  CaCertificatePem ca;
  TlsKeyPem key;
  CertificatePem certificate;
};

inline std::shared_ptr<grpc::Channel> Dial(const std::string& address, const Identity& identity) {
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = identity.ca.text();
  tls.pem_private_key = identity.key.secret_text();
  tls.pem_cert_chain = identity.certificate.text();
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
    std::string secret;
    CaCertificatePem ca;
    std::string address;
  };
  static Token ParseToken(const std::string& text) {
    const Json json = Get(ParseJson(Get(Base64UrlDecode(text.substr(5))), "token"));
    return {Get(RequireString(json, "secret")), CaCertificatePem(Get(RequireString(json, "ca"))),
            Get(RequireString(json, "address"))};
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
    identity.certificate = CertificatePem(response.certificate_pem());
    return identity;
  }
  std::string StateFile(const std::string& name) { return Get(ReadFile(options_.state_dir / name)); }
  Identity Administrator() {
    return {CaCertificatePem(StateFile("admin/ca.pem")), TlsKeyPem(StateFile("admin/key.pem")),
            CertificatePem(StateFile("admin/cert.pem"))};
  }
  // A client certificate of the federation's own CA, whatever its name and lifetime.
  Identity Issued(const std::string& name, std::chrono::system_clock::time_point not_after, bool server = false) {
    Identity identity = {CaCertificatePem(StateFile("ca.pem")), Get(GenerateTlsKey())};
    CertificateTerms terms;
    terms.common_name = name;
    terms.server = server;
    terms.not_before = not_after - std::chrono::hours(24);
    terms.not_after = not_after;
    identity.certificate = Get(IssueCertificate(TlsKeyPem(StateFile("ca-key.pem")), identity.ca,
                                                Get(MakeCertificateRequest(identity.key, name)), terms));
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
  static grpc::StatusCode CodeOfNextTask(v1::Federation::Stub& stub) {
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

}  // namespace fedglm
