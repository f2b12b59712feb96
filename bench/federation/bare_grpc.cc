// bare-grpc: the federation's calls over the same gRPC and the same mutual TLS, with nothing behind them. What arrives
// is thrown away, what is sent is zeros: no server can move more for its processor's time.
#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <map>
#include <string>
#include <thread>

#include "base/command_line.h"
#include "base/file.h"
#include "base/json.h"
#include "base/process.h"
#include "base/thread_annotations.h"
#include "fedglm/v1/federation.grpc.pb.h"
#include "proto/grpc_log.h"

namespace fedglm::bench {
namespace {

constexpr size_t kChunkBytes = 1 << 20;

struct Options {
  std::string folder;
  int64_t rounds = 3;
  int64_t artifact_bytes = 0;
};

class Upload : public grpc::ServerReadReactor<v1::UploadRequest> {
 public:
  explicit Upload(v1::UploadReceipt* receipt) : receipt_(receipt) { StartRead(&message_); }
  void OnReadDone(bool ok) override {
    if (ok) return StartRead(&message_);
    receipt_->set_accepted(true);
    Finish(grpc::Status::OK);
  }
  void OnDone() override { delete this; }

 private:
  v1::UploadReceipt* const receipt_;
  v1::UploadRequest message_;
};

class Download : public grpc::ServerWriteReactor<v1::DownloadChunk> {
 public:
  explicit Download(size_t bytes) : left_(bytes) { Next(); }
  void OnWriteDone(bool ok) override { ok ? Next() : Finish(grpc::Status::CANCELLED); }
  void OnDone() override { delete this; }

 private:
  void Next() {
    if (left_ == 0) return Finish(grpc::Status::OK);
    const size_t bytes = std::min(left_, kChunkBytes);
    chunk_.mutable_data()->resize(bytes);
    left_ -= bytes;
    StartWrite(&chunk_);
  }
  size_t left_;
  v1::DownloadChunk chunk_;
};

class Federation : public v1::Federation::CallbackService {
 public:
  explicit Federation(const Options& options) : options_(options) {}

  // Each site trains and installs in turns; no site waits for another.
  grpc::ServerUnaryReactor* NextTask(grpc::CallbackServerContext* context, const v1::NextTaskRequest* request,
                                     v1::Task* task) override {
    const int64_t question = request->training_records() == 0 ? -1 : QuestionOf(context->peer());
    const int64_t round = question / 2 + 1;
    if (question < 0) {
      task->mutable_wait();
    } else if (round > options_.rounds) {
      task->mutable_finished();
    } else if (question % 2 == 0) {
      task->mutable_train()->set_round(round);
    } else {
      task->mutable_install()->set_round(round);
    }
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
  grpc::ServerReadReactor<v1::UploadRequest>* UploadUpdate(grpc::CallbackServerContext*,
                                                           v1::UploadReceipt* receipt) override {
    return new Upload(receipt);
  }
  grpc::ServerWriteReactor<v1::DownloadChunk>* DownloadArtifact(grpc::CallbackServerContext*,
                                                                const v1::DownloadRequest*) override {
    return new Download(static_cast<size_t>(options_.artifact_bytes));
  }

 private:
  int64_t QuestionOf(const std::string& peer) {
    MutexLock lock(mutex_);
    return questions_[peer]++;
  }
  const Options& options_;
  Mutex mutex_;
  std::map<std::string, int64_t> questions_ ABSL_GUARDED_BY(mutex_);
};

absl::Status Serve(const Options& options) {
  SilenceGrpc();
  const std::filesystem::path folder = options.folder;
  FEDGLM_ASSIGN_OR_RETURN(const std::string ca, ReadFile(folder / "ca.pem"));
  FEDGLM_ASSIGN_OR_RETURN(const std::string certificate, ReadFile(folder / "cert.pem"));
  FEDGLM_ASSIGN_OR_RETURN(const std::string key, ReadFile(folder / "key.pem"));
  grpc::SslServerCredentialsOptions tls(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  tls.pem_root_certs = ca;
  tls.pem_key_cert_pairs.push_back({key, certificate});
  Federation service(options);
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(tls), &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return UnreachableError("cannot listen");
  const Json addresses = {{"federation", "127.0.0.1:" + std::to_string(port)}};
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(folder / "bare.json", DumpJson(addresses)));
  while (!StopRequested()) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  server->Shutdown(std::chrono::system_clock::now());
  return absl::OkStatus();
}

}  // namespace
}  // namespace fedglm::bench

int main(int argc, char** argv) {
  fedglm::HandleStopSignals();
  fedglm::bench::Options options;
  fedglm::CommandLine line("bare-grpc", "The federation's calls with nothing behind them; simulate-sites starts it");
  fedglm::Command app = line.root();
  app.Add("--folder", options.folder, "where ca.pem, cert.pem and key.pem are").Required();
  app.Add("--rounds", options.rounds, "of each site").ShowDefault().Between(1, 1000);
  app.Add("--artifact-bytes", options.artifact_bytes, "of what is downloaded").Between(0, int64_t{1} << 34);
  return line.Run(argc, argv, [&] { return fedglm::bench::Serve(options); });
}
