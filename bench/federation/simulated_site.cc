#include "bench/federation/simulated_site.h"

#include <utility>

namespace fedglm::bench {
namespace {

constexpr uint32_t kWaitMs = 60000;
constexpr int64_t kRecords = 10;
constexpr size_t kChunkBytes = 1 << 20;
constexpr auto kPatience = std::chrono::seconds(120);

std::unique_ptr<v1::Federation::Stub> Dial(const SimulatedFederation& federation, const std::string& address,
                                           const SimulatedMember& member) {
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = federation.ca_pem().text();
  tls.pem_private_key = federation.key_pem().secret_text();
  tls.pem_cert_chain = member.certificate_pem.text();
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
  return v1::Federation::NewStub(grpc::CreateCustomChannel(address, grpc::SslCredentials(tls), arguments));
}

}  // namespace

void SiteProgress::Moved() {
  MutexLock lock(mutex_);
  ++events_;
}

void SiteProgress::Finished() {
  MutexLock lock(mutex_);
  ++finished_;
  ++events_;
  changed_.notify_all();
}

void SiteProgress::Failed(const grpc::Status& status) {
  MutexLock lock(mutex_);
  if (fault_.empty()) fault_ = status.error_message() + " (" + std::to_string(status.error_code()) + ")";
  changed_.notify_all();
}

absl::Status SiteProgress::AwaitFinished(int64_t sites) {
  MutexLock lock(mutex_);
  int64_t seen = events_;
  auto since = std::chrono::steady_clock::now();
  while (finished_ < sites) {
    if (!fault_.empty()) return FailedError("a call of a site failed: " + fault_);
    if (StopRequested()) return CancelledError("stopped");
    lock.WaitFor(changed_, std::chrono::milliseconds(200));
    const auto now = std::chrono::steady_clock::now();
    if (events_ != seen) since = now;
    seen = events_;
    if (now - since > kPatience) return FailedError("nothing happened for two minutes");
  }
  return absl::OkStatus();
}

// What follows when such a call is over belongs to the site; the call's own memory goes in OnDone.
class SimulatedSite::Upload : public grpc::ClientWriteReactor<v1::UploadRequest> {
 public:
  Upload(SimulatedSite& site, const v1::TrainTask& task) : site_(site) {
    const std::string& update = site.federation_.update();
    v1::UploadHeader& header = *message_.mutable_header();
    header.set_update_id(task.update_id());
    header.set_round(task.round());
    header.set_base_sha256(site.federation_.base_sha256());
    header.set_adapter_sha256(task.adapter().sha256());
    header.set_mode(task.mode());
    header.set_examples(kRecords);
    header.set_bytes(update.size());
    header.set_sha256(site.federation_.update_sha256());
    header.set_training_loss(1);
    site.stub_->async()->UploadUpdate(&context_, &receipt_, this);
    StartWrite(&message_);
    StartCall();
  }
  void OnWriteDone(bool ok) override {
    const std::string& update = site_.federation_.update();
    if (!ok || sent_ >= update.size()) return StartWritesDone();
    message_.set_chunk(update.substr(sent_, kChunkBytes));
    sent_ += message_.chunk().size();
    site_.progress_.Moved();
    StartWrite(&message_);
  }
  void OnDone(const grpc::Status& status) override {
    SimulatedSite& site = site_;
    if (!status.ok()) {
      site.progress_.Failed(status);
    } else if (!receipt_.accepted()) {
      site.progress_.Failed(grpc::Status(grpc::StatusCode::UNKNOWN, receipt_.reason()));
    }
    delete this;
    site.Ask();
  }

 private:
  SimulatedSite& site_;
  grpc::ClientContext context_;
  v1::UploadRequest message_;
  v1::UploadReceipt receipt_;
  size_t sent_ = 0;
};

class SimulatedSite::Download : public grpc::ClientReadReactor<v1::DownloadChunk> {
 public:
  Download(SimulatedSite& site, const v1::InstallTask& task) : site_(site), round_(task.round()) {
    request_.set_sha256(task.adapter().sha256());
    site.installed_sha256_ = task.adapter().sha256();
    site.stub_->async()->DownloadArtifact(&context_, &request_, this);
    StartRead(&chunk_);
    StartCall();
  }
  void OnReadDone(bool ok) override {
    if (!ok) return;
    site_.progress_.Moved();
    StartRead(&chunk_);
  }
  void OnDone(const grpc::Status& status) override {
    SimulatedSite& site = site_;
    const int64_t round = round_;
    if (!status.ok()) site.progress_.Failed(status);
    delete this;
    site.Install(round);
  }

 private:
  SimulatedSite& site_;
  const int64_t round_;
  grpc::ClientContext context_;
  v1::DownloadRequest request_;
  v1::DownloadChunk chunk_;
};

SimulatedSite::SimulatedSite(const SimulatedFederation& federation, const std::string& address,
                             const SimulatedMember& member, SiteProgress& progress)
    : federation_(federation), progress_(progress), stub_(Dial(federation, address, member)) {}

v1::NextTaskRequest SimulatedSite::Request(uint32_t wait_ms, int64_t records) const {
  v1::NextTaskRequest request;
  request.set_installed_round(installed_round_);
  request.set_installed_sha256(installed_sha256_);
  request.set_base_sha256(federation_.base_sha256());
  request.set_training_records(records);
  request.set_max_wait_ms(wait_ms);
  request.set_version(FEDGLM_VERSION);
  return request;
}

grpc::Status SimulatedSite::AskOnce(int64_t records) {
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  v1::Task task;
  return stub_->NextTask(&context, Request(0, records), &task);
}

void SimulatedSite::Run() { Ask(); }

void SimulatedSite::Ask() {
  const auto context = std::make_shared<grpc::ClientContext>();  // as long as the callback
  context->set_wait_for_ready(true);
  request_ = Request(kWaitMs, kRecords);
  task_.Clear();
  stub_->async()->NextTask(context.get(), &request_, &task_, [this, context](const grpc::Status& status) {
    if (!status.ok()) return progress_.Failed(status);
    Do(task_);
  });
}

void SimulatedSite::Do(const v1::Task& task) {
  if (task.has_finished()) {
    progress_.Finished();
  } else if (task.has_train()) {
    new Upload(*this, task.train());
  } else if (task.has_install()) {
    new Download(*this, task.install());
  } else {
    Ask();
  }
}

void SimulatedSite::Install(int64_t round) {
  installed_round_ = round;
  progress_.Moved();
  Ask();
}

}  // namespace fedglm::bench
