// An artifact as it is sent, a chunk at a time. No thread waits for a slow reader.
#include <algorithm>
#include <fstream>
#include <memory>
#include <utility>

#include "aggregator/services.h"
#include "base/thread_annotations.h"

namespace fedglm {
namespace {

constexpr size_t kChunkBytes = 1 << 20;
constexpr auto kChunkWithin = std::chrono::minutes(5);

class Download : public grpc::ServerWriteReactor<v1::DownloadChunk>, public std::enable_shared_from_this<Download> {
 public:
  Download(const ServiceRooms& rooms, const v1::DownloadRequest& request)
      : rooms_(rooms), sha256_(request.sha256()), offset_(request.offset()) {}

  void Begin(grpc::CallbackServerContext& context) {
    context_ = &context;
    self_ = shared_from_this();
    absl::StatusOr<std::unique_ptr<OpenCall>> call = BeginCall(rooms_, context, CallKind::kDownload, weak_from_this());
    if (!call.ok()) return End(call.status());
    call_ = *std::move(call);
    rooms_.tasks.Post([self = shared_from_this()] {
      const absl::Status opened = self->Open();
      opened.ok() ? self->Next() : self->End(opened);
    });
  }

  void OnWriteDone(bool ok) override {
    {
      MutexLock lock(mutex_);
      writes_ = false;
    }
    if (!ok) return End(absl::CancelledError("the site went away"));
    rooms_.tasks.Post([self = shared_from_this()] { self->Next(); });
  }
  void OnDone() override { const std::shared_ptr<Download> last = std::move(self_); }

  void End(const absl::Status& status) {
    MutexLock lock(mutex_);
    if (std::exchange(ended_, true)) return;
    // What a reader that has stopped does not take would stand before the end of the call for ever.
    if (writes_) context_->TryCancel();
    Finish(ToGrpc(status));
  }

 private:
  absl::Status Open() {
    FEDGLM_ASSIGN_OR_RETURN(const std::filesystem::path path, rooms_.artifacts.Find(sha256_));
    FEDGLM_ASSIGN_OR_RETURN(const uint64_t size, rooms_.artifacts.Bytes(sha256_));
    chunk_bytes_ = std::min<uint64_t>(kChunkBytes, size);
    if (offset_ > size) return UsageError("the offset is beyond the artifact");
    file_.open(path, std::ios::binary);
    file_.seekg(static_cast<std::streamoff>(offset_));
    return file_ ? absl::OkStatus() : FailedError("the artifact cannot be read");
  }

  void Next() {
    rooms_.rounds.Heard(call_->caller().site_id);
    std::string& bytes = *chunk_.mutable_data();
    bytes.resize(chunk_bytes_);
    file_.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (file_.bad()) return End(FailedError("the artifact cannot be read"));
    if (file_.gcount() == 0) return End(absl::OkStatus());
    bytes.resize(static_cast<size_t>(file_.gcount()));
    call_->Expect(kChunkWithin);
    MutexLock lock(mutex_);
    if (ended_) return;
    writes_ = true;
    StartWrite(&chunk_);
  }

  const ServiceRooms& rooms_;
  grpc::CallbackServerContext* context_ = nullptr;
  const std::string sha256_;
  const uint64_t offset_;
  std::shared_ptr<Download> self_;  // until gRPC is done with it
  std::unique_ptr<OpenCall> call_;
  std::ifstream file_;
  size_t chunk_bytes_ = kChunkBytes;  // a thousand sites that fetch a small adapter need not a thousand MiB
  v1::DownloadChunk chunk_;
  Mutex mutex_;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false, writes_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerWriteReactor<v1::DownloadChunk>* SendArtifact(const ServiceRooms& rooms,
                                                          grpc::CallbackServerContext& context,
                                                          const v1::DownloadRequest& request) {
  const auto download = std::make_shared<Download>(rooms, request);
  download->Begin(context);
  return download.get();
}

}  // namespace fedglm
