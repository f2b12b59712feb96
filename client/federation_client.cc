#include "client/federation_client.h"

#include <grpcpp/grpcpp.h>

#include <fstream>

#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/tls.h"
#include "client/dialling/dial.h"
#include "client/dialling/grpc_status.h"

namespace fedglm {
namespace {

constexpr size_t kChunkBytes = 1 << 20;
// An adapter of rank 128 for all linear layers of a 9B model, twice. What an aggregator could make a site store is
// bounded.
constexpr uint64_t kMaxArtifactBytes = uint64_t{2} << 30;
// Together with the node's own pause (client/rules/setback.cc) less than two seconds from an aggregator's restart. An
// attempt that hangs is given five.
constexpr Reconnect kReconnect = {std::chrono::milliseconds(200), std::chrono::milliseconds(700),
                                  std::chrono::milliseconds(5000)};
constexpr auto kCallTimeout = std::chrono::seconds(30);
constexpr auto kStopPoll = std::chrono::milliseconds(100);
constexpr auto kHeartbeatTimeout = std::chrono::seconds(5);  // a job waits for it
constexpr auto kTransferTimeout = std::chrono::hours(12);

// What tells this node from another one with the same identity.
const std::string& InstanceOfThisProcess() {
  static const std::string instance = Base64UrlEncode(SecureRandomBytes(12));
  return instance;
}

}  // namespace

// The context of one call, which Cancel() can reach.
class FederationClient::Call {
 public:
  Call(FederationClient& client, std::chrono::system_clock::duration timeout) : client_(client) {
    context_.set_deadline(std::chrono::system_clock::now() + timeout);
    MutexLock lock(client_.mutex_);
    client_.current_ = this;
    if (client_.cancelled_) context_.TryCancel();
  }
  ~Call() {
    MutexLock lock(client_.mutex_);
    client_.current_ = nullptr;
  }
  grpc::ClientContext* context() { return &context_; }

 private:
  FederationClient& client_;
  grpc::ClientContext context_;
};

FederationClient::FederationClient(const SiteIdentity& identity, std::filesystem::path artifacts)
    : identity_(identity), artifacts_(std::move(artifacts)) {
  Redial();
}

FederationClient::~FederationClient() = default;

void FederationClient::Adopt(const SiteIdentity& identity) {
  identity_ = identity;
  Redial();
}

void FederationClient::Redial() {
  channel_ = Dial(address(), {identity_.ca_pem, identity_.key_pem, identity_.certificate_pem}, kReconnect);
  stub_ = v1::Federation::NewStub(channel_);
}

absl::Status FederationClient::ToStatus(const grpc::Status& status) {
  const absl::Status result = FromGrpc(status, address());
  // A channel goes on connecting by itself. One that has not dialled leaves whoever refused this site in peace until
  // the next call.
  if (ExitCodeOf(result) == ExitCode::kRefused) Redial();
  if (status.error_code() == grpc::StatusCode::CANCELLED && !Cancelled()) {
    return UnreachableError(address() + ": the aggregator ended the call");
  }
  if (ExitCodeOf(result) != ExitCode::kUnreachable) return result;
  // An aggregator only hangs up on a certificate that has expired, as one that is being started again does on any.
  const absl::Status valid = CheckValidity(identity_, Clock::System().Now());
  return valid.ok() ? result : valid;
}

void FederationClient::Cancel() {
  MutexLock lock(mutex_);
  cancelled_ = true;
  if (current_ != nullptr) current_->context()->TryCancel();
}

bool FederationClient::Cancelled() {
  MutexLock lock(mutex_);
  return cancelled_;
}

bool FederationClient::AwaitConnection(std::chrono::milliseconds at_most) {
  const auto until = std::chrono::system_clock::now() + at_most;
  while (!Cancelled() && std::chrono::system_clock::now() < until) {
    const grpc_connectivity_state state = channel_->GetState(/*try_to_connect=*/true);
    if (state == GRPC_CHANNEL_READY) return true;
    channel_->WaitForStateChange(state, std::chrono::system_clock::now() + kStopPoll);
  }
  return false;
}

absl::StatusOr<v1::Task> FederationClient::NextTask(const Position& position, std::chrono::milliseconds max_wait) {
  v1::NextTaskRequest request;
  request.set_installed_round(position.installed.round);
  request.set_installed_sha256(position.installed.sha256);
  request.set_declined_sha256(position.standing.declined_sha256);
  request.set_trains_from_declined(position.standing.trains_from_declined);
  request.set_setback(position.standing.setback);
  request.set_version(FEDGLM_VERSION);
  request.set_instance(InstanceOfThisProcess());
  request.set_base_sha256(position.base_sha256);
  request.set_training_records(position.training_records);
  request.set_max_wait_ms(static_cast<uint32_t>(max_wait.count()));
  v1::Task task;
  Call call(*this, max_wait + kCallTimeout);
  FEDGLM_RETURN_IF_ERROR(ToStatus(stub_->NextTask(call.context(), request, &task)));
  return task;
}

absl::StatusOr<bool> FederationClient::Heartbeat(int64_t round, int64_t step, int64_t steps) {
  v1::HeartbeatRequest request;
  request.set_round(round);
  request.set_step(step);
  request.set_steps(steps);
  v1::HeartbeatAck ack;
  Call call(*this, kHeartbeatTimeout);
  call.context()->set_wait_for_ready(true);  // as AwaitConnection
  FEDGLM_RETURN_IF_ERROR(ToStatus(stub_->Heartbeat(call.context(), request, &ack)));
  return ack.expected();
}

absl::Status FederationClient::Receive(const v1::ArtifactReference& reference, const std::filesystem::path& part) {
  std::error_code error;
  uint64_t received = std::filesystem::exists(part, error) ? std::filesystem::file_size(part, error) : 0;
  if (received >= reference.bytes()) return absl::OkStatus();
  std::ofstream file(part, std::ios::binary | std::ios::app);
  v1::DownloadRequest request;
  request.set_sha256(reference.sha256());
  request.set_offset(received);
  Call call(*this, kTransferTimeout);
  const auto reader = stub_->DownloadArtifact(call.context(), request);
  v1::DownloadChunk chunk;
  bool too_many = false, written = true;
  while (!too_many && written && reader->Read(&chunk)) {
    received += chunk.data().size();
    too_many = received > reference.bytes();
    written = static_cast<bool>(file.write(chunk.data().data(), static_cast<std::streamsize>(chunk.data().size())));
  }
  written = written && file.flush();
  if (too_many || !written) call.context()->TryCancel();
  const grpc::Status status = reader->Finish();
  if (!written) return FailedError(part.string() + ": cannot be written (disk full?)");
  if (too_many) {
    std::filesystem::remove(part, error);
    return FailedError(address() + ": sends more bytes of an artifact than it said");
  }
  FEDGLM_RETURN_IF_ERROR(ToStatus(status));
  return received == reference.bytes() ? absl::OkStatus() : UnreachableError(address() + ": the download ended early");
}

absl::StatusOr<std::string> FederationClient::Download(const v1::ArtifactReference& reference) {
  if (!IsSha256Hex(reference.sha256())) return FailedError(address() + ": names an artifact by what is no digest");
  if (reference.bytes() == 0 || reference.bytes() > kMaxArtifactBytes) {
    return FailedError(address() + ": names an artifact of " + std::to_string(reference.bytes()) + " bytes");
  }
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(artifacts_, 0700));
  const std::filesystem::path path = artifacts_ / reference.sha256(),
                              part = artifacts_ / (reference.sha256() + ".part");
  if (absl::StatusOr<std::string> known = ReadFile(path, kMaxArtifactBytes);
      known.ok() && Sha256Hex(*known) == reference.sha256()) {
    return known;
  }
  FEDGLM_RETURN_IF_ERROR(Receive(reference, part));
  FEDGLM_ASSIGN_OR_RETURN(std::string bytes, ReadFile(part, kMaxArtifactBytes));
  std::error_code error;
  if (Sha256Hex(bytes) != reference.sha256()) {
    std::filesystem::remove(part, error);
    return FailedError(address() + ": the artifact that arrived is not the one of its digest");
  }
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(path, bytes, 0600));
  std::filesystem::remove(part, error);
  return bytes;
}

void FederationClient::ForgetArtifactsBut(const std::string& sha256) {
  std::error_code error;
  for (std::filesystem::directory_iterator file(artifacts_, error), end; !error && file != end; file.increment(error)) {
    std::error_code ignored;
    if (file->path().filename() != sha256) std::filesystem::remove(file->path(), ignored);
  }
}

absl::StatusOr<uint64_t> FederationClient::ReceivedBytes(const std::string& update_id) {
  v1::QueryUploadRequest query;
  query.set_update_id(update_id);
  v1::UploadState state;
  Call call(*this, kCallTimeout);
  FEDGLM_RETURN_IF_ERROR(ToStatus(stub_->QueryUpload(call.context(), query, &state)));
  return state.received_bytes();
}

absl::StatusOr<v1::UploadReceipt> FederationClient::Upload(const OutboxEntry& entry, std::string_view payload,
                                                           uint64_t received) {
  v1::UploadRequest message;
  v1::UploadHeader* const header = message.mutable_header();
  header->set_update_id(entry.update_id);
  header->set_round(entry.round);
  header->set_base_sha256(entry.base_sha256);
  header->set_adapter_sha256(entry.adapter_sha256);
  header->set_mode(entry.mode);
  header->set_examples(entry.examples);
  header->set_bytes(entry.bytes);
  header->set_sha256(entry.sha256);
  header->set_training_loss(entry.training_loss);
  // More than there is: what lies there is not this payload, and is written over.
  const uint64_t offset = received <= payload.size() ? received : 0;
  header->set_offset(offset);

  v1::UploadReceipt receipt;
  Call call(*this, kTransferTimeout);
  const auto writer = stub_->UploadUpdate(call.context(), &receipt);
  bool open = writer->Write(message);
  for (uint64_t sent = offset; open && sent < payload.size(); sent += kChunkBytes) {
    message.set_chunk(std::string(payload.substr(sent, kChunkBytes)));
    open = writer->Write(message);
  }
  writer->WritesDone();
  FEDGLM_RETURN_IF_ERROR(ToStatus(writer->Finish()));
  return receipt;
}

absl::Status FederationClient::ReportEvaluation(int64_t round, double loss, int64_t tokens) {
  v1::EvaluationReport report;
  report.set_round(round);
  report.set_loss(loss);
  report.set_tokens(tokens);
  return Send(report);
}

absl::Status FederationClient::ReportFailedEvaluation(int64_t round) {
  v1::EvaluationReport report;
  report.set_round(round);
  report.set_failed(true);
  return Send(report);
}

absl::Status FederationClient::Send(const v1::EvaluationReport& report) {
  v1::EvaluationAck ack;
  Call call(*this, kCallTimeout);
  return ToStatus(stub_->ReportEvaluation(call.context(), report, &ack));
}

absl::Status FederationClient::ReportRejection(int64_t round, const std::string& sha256, const std::string& reason) {
  v1::AdapterRejection rejection;
  rejection.set_round(round);
  rejection.set_adapter_sha256(sha256);
  rejection.set_reason(reason);
  v1::RejectionAck ack;
  Call call(*this, kCallTimeout);
  return ToStatus(stub_->ReportRejection(call.context(), rejection, &ack));
}

absl::StatusOr<CertificatePem> FederationClient::RenewCertificate(const std::string& request_pem) {
  v1::RenewalRequest request;
  request.set_certificate_request_pem(request_pem);
  v1::Renewal renewal;
  Call call(*this, kCallTimeout);
  const grpc::Status status = stub_->RenewCertificate(call.context(), request, &renewal);
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
    return FailedError(address() + ": this aggregator is of a time before certificates were renewed");
  }
  FEDGLM_RETURN_IF_ERROR(ToStatus(status));
  return CertificatePem(renewal.certificate_pem());
}

}  // namespace fedglm
