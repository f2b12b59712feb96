#include <algorithm>
#include <fstream>

#include "aggregator/peer_identity.h"
#include "aggregator/services.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/log.h"
#include "base/utf8.h"

namespace fedglm {
namespace {

constexpr size_t kChunkBytes = 1 << 20;
constexpr uint32_t kMaxWaitMs = 60000;
constexpr size_t kLongestVersion = 40;

UpdateClaim ClaimOf(const v1::UploadHeader& header) {
  UpdateClaim claim;
  claim.update_id = header.update_id();
  claim.base_sha256 = header.base_sha256();
  claim.adapter_sha256 = header.adapter_sha256();
  claim.mode = header.mode();
  claim.sha256 = header.sha256();
  claim.round = header.round();
  claim.examples = header.examples();
  claim.bytes = header.bytes();
  claim.training_loss = header.training_loss();
  return claim;
}

SitePosition PositionOf(const v1::NextTaskRequest& request) {
  const auto digest = [](const std::string& text) { return IsSha256Hex(text) ? text : std::string(); };
  SitePosition position;
  position.installed_round = request.installed_round();
  position.installed_sha256 = digest(request.installed_sha256());
  position.declined_sha256 = digest(request.declined_sha256());
  position.trains_from_declined = request.trains_from_declined();
  position.training_records = std::max<int64_t>(0, request.training_records());
  if (IsSetback(request.setback())) position.setback = request.setback();
  position.version = OneLine(request.version(), kLongestVersion);
  return position;
}

void WriteReceipt(const UpdateRow& update, v1::UploadReceipt* receipt) {
  receipt->set_accepted(update.state == UpdateState::kAccepted);
  receipt->set_reason(update.reason);
}

class FederationService : public v1::Federation::Service {
 public:
  explicit FederationService(const ServiceRooms& rooms) : rooms_(rooms) {}

  grpc::Status NextTask(grpc::ServerContext* context, const v1::NextTaskRequest* request, v1::Task* task) override {
    const absl::StatusOr<NodeRow> site = HeardSite(*context);
    if (!site.ok()) return ToGrpc(site.status());
    if (request->base_sha256() != rooms_.rounds.base_sha256()) {
      return ToGrpc(RefusedError("the site's base is another one than the federation's (" +
                                 rooms_.rounds.base_sha256().substr(0, 12) + ")"));
    }
    const absl::StatusOr<Work> work = rooms_.rounds.NextWork(
        site->site_id, PositionOf(*request), std::chrono::milliseconds(std::min(request->max_wait_ms(), kMaxWaitMs)),
        [context] { return context->IsCancelled(); });
    if (!work.ok()) return ToGrpc(work.status());
    if (absl::Status status = WriteTask(*work, task); !status.ok()) return ToGrpc(status);
    return grpc::Status::OK;
  }

  grpc::Status Heartbeat(grpc::ServerContext* context, const v1::HeartbeatRequest* request,
                         v1::HeartbeatAck* ack) override {
    const absl::StatusOr<NodeRow> site = CallingSite(*context, rooms_.store);
    if (!site.ok()) return ToGrpc(site.status());
    const absl::StatusOr<bool> expected =
        rooms_.rounds.Works(site->site_id, {request->round(), request->step(), request->steps()});
    if (expected.ok()) ack->set_expected(*expected);
    return ToGrpc(expected.status());
  }

  grpc::Status QueryUpload(grpc::ServerContext* context, const v1::QueryUploadRequest* request,
                           v1::UploadState* state) override {
    const absl::StatusOr<NodeRow> site = HeardSite(*context);
    if (!site.ok()) return ToGrpc(site.status());
    const absl::StatusOr<std::optional<UpdateRow>> update = rooms_.store.FindUpdate(request->update_id());
    if (!update.ok()) return ToGrpc(update.status());
    // Of an update that nobody knows of (an aggregator that was restored from a copy) there is nothing, and the upload
    // is answered with a refusal, which ends it for the site.
    const bool known = update->has_value() && (*update)->site_id == site->site_id;
    state->set_received_bytes(known ? rooms_.spool.Received(request->update_id()) : 0);
    return grpc::Status::OK;
  }

  grpc::Status UploadUpdate(grpc::ServerContext* context, grpc::ServerReader<v1::UploadRequest>* reader,
                            v1::UploadReceipt* receipt) override {
    const absl::StatusOr<NodeRow> site = HeardSite(*context);
    if (!site.ok()) return ToGrpc(site.status());
    v1::UploadRequest message;
    if (!reader->Read(&message) || !message.has_header()) return ToGrpc(UsageError("an upload begins with its header"));
    const UpdateClaim claim = ClaimOf(message.header());
    const absl::StatusOr<UpdateRow> known = rooms_.rounds.CheckClaim(site->site_id, claim);
    if (!known.ok()) return Refuse(known.status(), receipt);
    if (known->state != UpdateState::kExpected) {
      WriteReceipt(*known, receipt);
      return grpc::Status::OK;
    }
    // Held until the decision: while an update is looked at nobody else may write to its file.
    const absl::StatusOr<std::unique_ptr<SpoolWriter>> transfer =
        rooms_.spool.Begin(claim.update_id, message.header().offset());
    if (!transfer.ok()) return ToGrpc(transfer.status());
    if (absl::Status status = Receive(*context, claim, **transfer, *reader); !status.ok()) return ToGrpc(status);
    const absl::StatusOr<UpdateRow> decided = rooms_.rounds.DecideUpdate(site->site_id, claim);
    if (!decided.ok()) return Refuse(decided.status(), receipt);
    WriteReceipt(*decided, receipt);
    return grpc::Status::OK;
  }

  grpc::Status DownloadArtifact(grpc::ServerContext* context, const v1::DownloadRequest* request,
                                grpc::ServerWriter<v1::DownloadChunk>* writer) override {
    const absl::StatusOr<NodeRow> site = HeardSite(*context);
    if (!site.ok()) return ToGrpc(site.status());
    const absl::StatusOr<std::filesystem::path> path = rooms_.artifacts.Find(request->sha256());
    if (!path.ok()) return ToGrpc(path.status());
    const absl::StatusOr<uint64_t> size = rooms_.artifacts.Bytes(request->sha256());
    if (!size.ok()) return ToGrpc(size.status());
    if (request->offset() > *size) return ToGrpc(UsageError("the offset is beyond the artifact"));
    std::ifstream file(*path, std::ios::binary);
    file.seekg(static_cast<std::streamoff>(request->offset()));
    if (!file) return ToGrpc(FailedError("the artifact cannot be read"));
    v1::DownloadChunk chunk;
    std::string bytes(kChunkBytes, '\0');
    while (file.read(bytes.data(), static_cast<std::streamsize>(bytes.size())), file.gcount() > 0) {
      chunk.set_data(bytes.data(), static_cast<size_t>(file.gcount()));
      if (!writer->Write(chunk)) return grpc::Status::CANCELLED;
      if (const auto still = HeardSite(*context); !still.ok()) return ToGrpc(still.status());
    }
    return file.bad() ? ToGrpc(FailedError("the artifact cannot be read")) : grpc::Status::OK;
  }

  grpc::Status ReportEvaluation(grpc::ServerContext* context, const v1::EvaluationReport* report,
                                v1::EvaluationAck*) override {
    const absl::StatusOr<NodeRow> site = HeardSite(*context);
    if (!site.ok()) return ToGrpc(site.status());
    if (report->failed()) return ToGrpc(rooms_.rounds.ReportFailedEvaluation(site->site_id, report->round()));
    return ToGrpc(rooms_.rounds.ReportEvaluation(site->site_id, report->round(), {report->loss(), report->tokens()}));
  }

  grpc::Status ReportRejection(grpc::ServerContext* context, const v1::AdapterRejection* rejection,
                               v1::RejectionAck*) override {
    const absl::StatusOr<NodeRow> site = HeardSite(*context);
    if (!site.ok()) return ToGrpc(site.status());
    return ToGrpc(rooms_.rounds.ReportRejection(site->site_id, rejection->round(), rejection->adapter_sha256(),
                                                rejection->reason()));
  }

 private:
  // Who calls, and is there.
  absl::StatusOr<NodeRow> HeardSite(const grpc::ServerContext& context) const {
    absl::StatusOr<NodeRow> site = CallingSite(context, rooms_.store);
    if (site.ok()) rooms_.rounds.Heard(site->site_id);
    return site;
  }

  // A refusal is an answer that the site must not repeat; any other error may pass.
  grpc::Status Refuse(const absl::Status& status, v1::UploadReceipt* receipt) const {
    if (ExitCodeOf(status) != ExitCode::kRefused) return ToGrpc(status);
    receipt->set_accepted(false);
    receipt->set_reason(Message(status));
    return grpc::Status::OK;
  }

  // Until all bytes are there, or the update is decided meanwhile: it is late, or was sent by another transfer.
  absl::Status Receive(const grpc::ServerContext& context, const UpdateClaim& claim, SpoolWriter& writer,
                       grpc::ServerReader<v1::UploadRequest>& reader) {
    v1::UploadRequest message;
    while (reader.Read(&message)) {
      if (message.has_header()) return UsageError("a second header");
      if (message.chunk().size() > kChunkBytes) return UsageError("a chunk of more than 1 MiB");
      if (writer.bytes() + message.chunk().size() > claim.bytes) return UsageError("more bytes than the header says");
      FEDGLM_ASSIGN_OR_RETURN(const NodeRow site, CallingSite(context, rooms_.store));
      const absl::StatusOr<UpdateRow> now = rooms_.rounds.CheckClaim(site.site_id, claim);
      // No longer expected: DecideUpdate says how it was decided.
      if (!now.ok() || now->state != UpdateState::kExpected) return absl::OkStatus();
      FEDGLM_RETURN_IF_ERROR(writer.Append(message.chunk()));
    }
    FEDGLM_RETURN_IF_ERROR(writer.Sync());
    if (writer.bytes() < claim.bytes) return UnreachableError("the transfer ended early: go on from where it stopped");
    return absl::OkStatus();
  }

  absl::Status Reference(const std::string& sha256, v1::ArtifactReference* reference) const {
    FEDGLM_ASSIGN_OR_RETURN(const uint64_t bytes, rooms_.artifacts.Bytes(sha256));
    reference->set_sha256(sha256);
    reference->set_bytes(bytes);
    return absl::OkStatus();
  }

  absl::Status WriteTask(const Work& work, v1::Task* task) const {
    if (const auto* train = std::get_if<TrainWork>(&work)) {
      v1::TrainTask* const out = task->mutable_train();
      out->set_round(train->round);
      out->set_rounds(rooms_.options.rounds);
      out->set_mode(std::string(UpdateFormName(rooms_.options.mode)));
      out->set_update_id(train->update_id);
      out->set_plan(DumpJson(ToJson(rooms_.options.training)));
      return Reference(train->adapter_sha256, out->mutable_adapter());
    }
    if (const auto* install = std::get_if<InstallWork>(&work)) {
      task->mutable_install()->set_round(install->round);
      return Reference(install->adapter_sha256, task->mutable_install()->mutable_adapter());
    }
    if (std::holds_alternative<FinishedWork>(work)) {
      task->mutable_finished();
      return absl::OkStatus();
    }
    task->mutable_wait()->set_retry_after_ms(100);
    return absl::OkStatus();
  }

  const ServiceRooms& rooms_;
};

}  // namespace

std::unique_ptr<v1::Federation::Service> MakeFederationService(const ServiceRooms& rooms) {
  return std::make_unique<FederationService>(rooms);
}

}  // namespace fedglm
