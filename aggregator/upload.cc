// An update as it arrives: a header, then chunks. No thread waits between two messages.
#include <memory>
#include <utility>

#include "aggregator/services.h"
#include "base/thread_annotations.h"

namespace fedglm {
namespace {

constexpr size_t kChunkBytes = 1 << 20, kSmallChunk = 4096;
constexpr int kSmallChunks = 64;  // of a transfer; more would cost more than they bring
constexpr auto kHeaderWithin = std::chrono::seconds(30);
// A chunk of 1 MiB over a line of 30 kbit/s. Who has lost its power is noticed by keepalive, in half a minute.
constexpr auto kChunkWithin = std::chrono::minutes(5);

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

// One thing happens at a time: a message is awaited, or a task looks at one. Only End comes from elsewhere.
class Upload : public grpc::ServerReadReactor<v1::UploadRequest>, public std::enable_shared_from_this<Upload> {
 public:
  Upload(const ServiceRooms& rooms, v1::UploadReceipt* receipt) : rooms_(rooms), receipt_(receipt) {}

  void Begin(const grpc::CallbackServerContext& context) {
    self_ = shared_from_this();
    absl::StatusOr<std::unique_ptr<OpenCall>> call = BeginCall(rooms_, context, CallKind::kUpload, weak_from_this());
    if (!call.ok()) return End(call.status());
    call_ = *std::move(call);
    call_->Expect(kHeaderWithin);
    Read();
  }

  void OnReadDone(bool ok) override {
    rooms_.tasks.Post([self = shared_from_this(), ok] { self->Take(ok); });
  }
  // Not here: the last one to let go of the writer waits for the disk.
  void OnDone() override {
    rooms_.tasks.Post([last = std::move(self_)] {});
  }

  void End(const absl::Status& status) {
    MutexLock lock(mutex_);
    if (std::exchange(ended_, true)) return;
    Finish(ToGrpc(status));
  }

 private:
  void Read() {
    MutexLock lock(mutex_);
    if (!ended_) StartRead(&message_);
  }

  // Of a task: the site that hears of it may begin anew at once.
  void GiveUp(const absl::Status& status) {
    writer_.reset();
    End(status);
  }

  void Take(bool ok) {
    if (const absl::Status member = CheckMember(call_->caller(), rooms_.store); !member.ok()) return GiveUp(member);
    if (!ok) return Last();
    call_->Expect(kChunkWithin);
    const absl::StatusOr<bool> more = writer_ == nullptr ? TakeHeader() : TakeChunk();
    if (!more.ok()) return GiveUp(more.status());
    if (*more) return Read();
  }

  // These two: whether more messages are awaited; else the call is answered, or will be.
  absl::StatusOr<bool> TakeHeader() {
    rooms_.rounds.Heard(site());
    const v1::UploadRequest& message = message_;
    if (!message.has_header()) return UsageError("an upload begins with its header");
    const v1::UploadHeader& header = message.header();
    claim_ = ClaimOf(header);
    const absl::StatusOr<UpdateRow> known = rooms_.rounds.CheckClaim(site(), claim_);
    if (!known.ok() || known->state != UpdateState::kExpected) return Answer(known);
    // Held until the decision: while an update is looked at nobody else may write to its file.
    FEDGLM_ASSIGN_OR_RETURN(writer_, rooms_.spool.Begin(claim_.update_id, header.offset()));
    return true;
  }
  absl::StatusOr<bool> TakeChunk() {
    const v1::UploadRequest& message = message_;
    if (message.has_header()) return UsageError("a second header");
    const std::string& chunk = message.chunk();
    if (chunk.empty()) return UsageError("an empty chunk");
    if (chunk.size() > kChunkBytes) return UsageError("a chunk of more than 1 MiB");
    if (writer_->bytes() + chunk.size() > claim_.bytes) return UsageError("more bytes than the header says");
    if (chunk.size() < kSmallChunk && ++small_chunks_ > kSmallChunks) return UsageError("too many small chunks");
    const absl::StatusOr<UpdateRow> now = rooms_.rounds.CheckClaim(site(), claim_);
    // No longer expected: it is late, or was sent by another transfer. DecideUpdate says how it was decided.
    if (!now.ok() || now->state != UpdateState::kExpected) {
      Decide();
      return false;
    }
    FEDGLM_RETURN_IF_ERROR(writer_->Append(chunk));
    return true;
  }

  void Last() {
    if (writer_ == nullptr) return GiveUp(UsageError("an upload begins with its header"));
    if (writer_->bytes() < claim_.bytes) {
      return GiveUp(UnreachableError("the transfer ended early: go on from where it stopped"));
    }
    Decide();
  }

  void Decide() {
    call_->ExpectNothing();
    rooms_.decisions.Post([self = shared_from_this()] {
      if (const absl::Status synced = self->writer_->Sync(); !synced.ok()) return self->GiveUp(synced);
      if (const absl::StatusOr<bool> answered =
              self->Answer(self->rooms_.rounds.DecideUpdate(self->site(), self->claim_));
          !answered.ok()) {
        self->GiveUp(answered.status());
      }
    });
  }

  // A refusal is an answer that the site must not repeat; any other error may pass.
  absl::StatusOr<bool> Answer(const absl::StatusOr<UpdateRow>& update) {
    const bool is_refusal = !update.ok() && ExitCodeOf(update.status()) == ExitCode::kRefused;
    if (!update.ok() && !is_refusal) return update.status();
    writer_.reset();
    MutexLock lock(mutex_);
    if (std::exchange(ended_, true)) return false;  // the receipt is gone
    receipt_->set_accepted(update.ok() && update->state == UpdateState::kAccepted);
    receipt_->set_reason(update.ok() ? update->reason : Message(update.status()));
    Finish(grpc::Status::OK);
    return false;
  }

  const std::string& site() const { return call_->caller().site_id; }

  const ServiceRooms& rooms_;
  v1::UploadReceipt* const receipt_;
  std::shared_ptr<Upload> self_;  // until gRPC is done with it
  std::unique_ptr<OpenCall> call_;
  v1::UploadRequest message_;
  UpdateClaim claim_;
  std::unique_ptr<SpoolWriter> writer_;
  int small_chunks_ = 0;
  Mutex mutex_;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerReadReactor<v1::UploadRequest>* ReceiveUpload(const ServiceRooms& rooms,
                                                          const grpc::CallbackServerContext& context,
                                                          v1::UploadReceipt* receipt) {
  const auto upload = std::make_shared<Upload>(rooms, receipt);
  upload->Begin(context);
  return upload.get();
}

}  // namespace fedglm
