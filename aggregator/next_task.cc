// A site's question for work, which may be answered much later. No thread waits with it.
#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

#include "aggregator/services.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/thread_annotations.h"
#include "base/utf8.h"

namespace fedglm {
namespace {

constexpr uint32_t kMaxWaitMs = 60000;
constexpr size_t kLongestWord = 40;

SitePosition PositionOf(const v1::NextTaskRequest& request) {
  const auto digest = [](const std::string& text) { return IsSha256Hex(text) ? text : std::string(); };
  SitePosition position;
  position.installed_round = request.installed_round();
  position.installed_sha256 = digest(request.installed_sha256());
  position.declined_sha256 = digest(request.declined_sha256());
  position.trains_from_declined = request.trains_from_declined();
  position.training_records = std::max<int64_t>(0, request.training_records());
  if (IsSetback(request.setback())) position.setback = request.setback();
  position.version = OneLine(request.version(), kLongestWord);
  position.instance = OneLine(request.instance(), kLongestWord);
  return position;
}

class Question : public grpc::ServerUnaryReactor, public std::enable_shared_from_this<Question> {
 public:
  Question(const ServiceRooms& rooms, v1::Task* task) : rooms_(rooms), task_(task) {}

  void Begin(const grpc::CallbackServerContext& context, const v1::NextTaskRequest& request) {
    self_ = shared_from_this();
    absl::StatusOr<std::unique_ptr<OpenCall>> call = BeginCall(rooms_, context, CallKind::kWork, weak_from_this());
    if (!call.ok()) return End(call.status());
    site_ = (*call)->caller().site_id;
    {
      MutexLock lock(mutex_);
      if (ended_) return;  // of a site that was revoked just now
      call_ = *std::move(call);
    }
    if (request.base_sha256() != rooms_.rounds.base_sha256()) {
      return End(RefusedError("the site's base is another one than the federation's (" +
                              rooms_.rounds.base_sha256().substr(0, 12) + ")"));
    }
    const std::chrono::milliseconds wait(std::min(request.max_wait_ms(), kMaxWaitMs));
    rooms_.tasks.Post([self = shared_from_this(), position = PositionOf(request), wait] { self->Ask(position, wait); });
  }

  void OnCancel() override {
    rooms_.tasks.Post([self = shared_from_this()] { self->GiveUp(); });
  }
  void OnDone() override { const std::shared_ptr<Question> last = std::move(self_); }

  void End(const absl::Status& status) {
    {
      MutexLock lock(mutex_);
      if (std::exchange(ended_, true)) return;
      Close(status);
    }
    GiveUp();
  }

 private:
  void Ask(const SitePosition& position, std::chrono::milliseconds wait) {
    number_ = rooms_.rounds.AwaitWork(
        site_, position, wait, [self = shared_from_this()](const absl::StatusOr<Work>& work) { self->Answer(work); });
    if (given_up_) GiveUp();  // before there was a number
  }
  void GiveUp() {
    given_up_ = true;
    if (number_ != 0) rooms_.rounds.StopWaiting(site_, number_);
  }

  void Answer(const absl::StatusOr<Work>& work) {
    MutexLock lock(mutex_);
    if (std::exchange(ended_, true)) return;  // the task is gone
    Close(work.ok() ? Write(*work) : work.status());
  }

  // Not counted any more before the site has its answer, with which it may ask anew at once: OnDone can be later.
  void Close(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    call_.reset();
    Finish(ToGrpc(status));
  }

  absl::Status Write(const Work& work) const {
    if (const auto* train = std::get_if<TrainWork>(&work)) {
      v1::TrainTask* const out = task_->mutable_train();
      out->set_round(train->round);
      out->set_rounds(rooms_.options.rounds);
      out->set_mode(std::string(UpdateFormName(rooms_.options.mode)));
      out->set_update_id(train->update_id);
      out->set_plan(DumpJson(ToJson(rooms_.options.training)));
      return Refer(train->adapter_sha256, out->mutable_adapter());
    }
    if (const auto* install = std::get_if<InstallWork>(&work)) {
      task_->mutable_install()->set_round(install->round);
      return Refer(install->adapter_sha256, task_->mutable_install()->mutable_adapter());
    }
    if (std::holds_alternative<FinishedWork>(work)) {
      task_->mutable_finished();
      return absl::OkStatus();
    }
    task_->mutable_wait()->set_retry_after_ms(100);
    return absl::OkStatus();
  }

  absl::Status Refer(const std::string& sha256, v1::ArtifactReference* reference) const {
    FEDGLM_ASSIGN_OR_RETURN(const uint64_t bytes, rooms_.artifacts.Bytes(sha256));
    reference->set_sha256(sha256);
    reference->set_bytes(bytes);
    return absl::OkStatus();
  }

  const ServiceRooms& rooms_;
  v1::Task* const task_;
  std::shared_ptr<Question> self_;  // until gRPC is done with it
  std::string site_;
  std::atomic<uint64_t> number_ = 0;  // of the call among those that wait
  std::atomic<bool> given_up_ = false;
  Mutex mutex_;
  std::unique_ptr<OpenCall> call_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerUnaryReactor* AnswerWithWork(const ServiceRooms& rooms, const grpc::CallbackServerContext& context,
                                         const v1::NextTaskRequest& request, v1::Task* task) {
  const auto question = std::make_shared<Question>(rooms, task);
  question->Begin(context, request);
  return question.get();
}

}  // namespace fedglm
