// A Federation service over mutual TLS that does what a test tells it to: also what no good aggregator would.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "fedglm/v1/federation.grpc.pb.h"
#include "tests/client/site_fixture.h"

namespace fedglm {

class ScriptedAggregator : public v1::Federation::Service {
 public:
  ScriptedAggregator() {
    const TlsKeyPem key = Get(GenerateTlsKey());
    grpc::SslServerCredentialsOptions tls(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    tls.pem_root_certs = authority.certificate.text();
    tls.pem_key_cert_pairs = {{key.secret_text(), authority.Issue(key, "aggregator", InHours(24), true).text()}};
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(tls), &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    identity = MakeIdentity(authority, signing_key);
    identity.federation_address = "127.0.0.1:" + std::to_string(port);
  }
  ~ScriptedAggregator() override { server_->Shutdown(std::chrono::system_clock::now()); }

  const TestAuthority authority{};
  const SigningKeyPem signing_key = Get(GenerateSigningKey());
  SiteIdentity identity;  // of the site that may call

  // NextTask.
  std::function<grpc::Status(grpc::ServerContext*, v1::Task*)> next_task;

  // DownloadArtifact: what lies under a digest, and after how many bytes a stream breaks (once).
  std::map<std::string, std::string> artifacts;
  size_t break_download_after = SIZE_MAX;
  std::vector<uint64_t> offsets;  // asked for so far

  // UploadUpdate: what has arrived, and after how many chunks a stream breaks (once).
  std::string received;
  uint64_t claimed_received = UINT64_MAX;  // what QueryUpload says instead
  size_t break_upload_after = SIZE_MAX;
  std::vector<v1::UploadHeader> headers;
  v1::UploadReceipt receipt;

  std::string Publish(const std::string& bytes) {
    artifacts[Sha256Hex(bytes)] = bytes;
    return Sha256Hex(bytes);
  }
  static v1::ArtifactReference Reference(const std::string& sha256, uint64_t bytes) {
    v1::ArtifactReference reference;
    reference.set_sha256(sha256);
    reference.set_bytes(bytes);
    return reference;
  }

  grpc::Status NextTask(grpc::ServerContext* context, const v1::NextTaskRequest*, v1::Task* task) override {
    return next_task(context, task);
  }
  grpc::Status DownloadArtifact(grpc::ServerContext*, const v1::DownloadRequest* request,
                                grpc::ServerWriter<v1::DownloadChunk>* writer) override {
    offsets.push_back(request->offset());
    const auto found = artifacts.find(request->sha256());
    if (found == artifacts.end()) return grpc::Status(grpc::StatusCode::NOT_FOUND, "no such artifact");
    size_t sent = 0;
    for (size_t at = request->offset(); at < found->second.size(); at += kChunk) {
      v1::DownloadChunk chunk;
      chunk.set_data(found->second.substr(at, kChunk));
      if (!writer->Write(chunk)) return grpc::Status::CANCELLED;
      sent += chunk.data().size();
      if (sent >= break_download_after) {
        break_download_after = SIZE_MAX;
        return grpc::Status(grpc::StatusCode::UNAVAILABLE, "the power failed");
      }
    }
    return grpc::Status::OK;
  }
  // Heartbeat.
  std::atomic<bool> expects{true};
  grpc::Status Heartbeat(grpc::ServerContext*, const v1::HeartbeatRequest* request, v1::HeartbeatAck* ack) override {
    ack->set_expected(expects);
    last_heartbeat = request->round();
    return grpc::Status::OK;
  }
  std::atomic<int64_t> last_heartbeat{0};

  grpc::Status QueryUpload(grpc::ServerContext*, const v1::QueryUploadRequest*, v1::UploadState* state) override {
    state->set_received_bytes(claimed_received == UINT64_MAX ? received.size() : claimed_received);
    return grpc::Status::OK;
  }
  grpc::Status UploadUpdate(grpc::ServerContext*, grpc::ServerReader<v1::UploadRequest>* reader,
                            v1::UploadReceipt* answer) override {
    v1::UploadRequest message;
    if (!reader->Read(&message) || !message.has_header())
      return grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "no header");
    headers.push_back(message.header());
    received.resize(message.header().offset());
    for (size_t chunks = 0; reader->Read(&message);) {
      received += message.chunk();
      if (++chunks >= break_upload_after) {
        break_upload_after = SIZE_MAX;
        return grpc::Status(grpc::StatusCode::UNAVAILABLE, "the power failed");
      }
    }
    *answer = receipt;
    return grpc::Status::OK;
  }
  grpc::Status ReportEvaluation(grpc::ServerContext*, const v1::EvaluationReport* report, v1::EvaluationAck*) override {
    evaluations.push_back(*report);
    return grpc::Status::OK;
  }
  std::vector<v1::EvaluationReport> evaluations;
  grpc::Status ReportRejection(grpc::ServerContext*, const v1::AdapterRejection* rejection,
                               v1::RejectionAck*) override {
    rejections.push_back(*rejection);
    return grpc::Status::OK;
  }
  std::vector<v1::AdapterRejection> rejections;

  // RenewCertificate; empty: as an aggregator that does not know it.
  std::function<grpc::Status(const v1::RenewalRequest&, v1::Renewal*)> renew;
  std::vector<std::string> renewal_requests;
  grpc::Status RenewCertificate(grpc::ServerContext* context, const v1::RenewalRequest* request,
                                v1::Renewal* renewal) override {
    renewal_requests.push_back(request->certificate_request_pem());
    return renew ? renew(*request, renewal) : v1::Federation::Service::RenewCertificate(context, request, renewal);
  }

 private:
  static constexpr size_t kChunk = 1 << 20;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace fedglm
