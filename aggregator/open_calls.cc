#include "aggregator/open_calls.h"

namespace fedglm {
namespace {

constexpr auto kLook = std::chrono::milliseconds(500);

// A site works with one call of each kind. A line that broke leaves its calls behind until keepalive notices.
int MostOf(CallKind kind) {
  switch (kind) {
    case CallKind::kWork:
    case CallKind::kUpload:
    case CallKind::kDownload:
      return 4;
    case CallKind::kShort:
      break;
  }
  return 8;
}

}  // namespace

OpenCall::~OpenCall() { calls_.End(*this); }

void OpenCall::Expect(std::chrono::steady_clock::duration within) {
  until_ = std::chrono::steady_clock::now() + within;
}

void OpenCall::ExpectNothing() { until_ = Time::max(); }

OpenCalls::OpenCalls(const Store& store) : store_(store), thread_([this] { Watch(); }) {}

OpenCalls::~OpenCalls() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

absl::StatusOr<std::unique_ptr<OpenCall>> OpenCalls::Begin(Caller caller, CallKind kind,
                                                           std::function<void(const absl::Status&)> end) {
  MutexLock lock(mutex_);
  int& count = counts_[{caller.site_id, kind}];
  if (count >= MostOf(kind)) {
    return absl::ResourceExhaustedError("site " + caller.site_id + " has " + std::to_string(count) +
                                        " such calls open already");
  }
  ++count;
  std::unique_ptr<OpenCall> call(new OpenCall(*this, std::move(caller), kind, std::move(end)));
  call->place_ = calls_.insert(calls_.end(), call.get());
  return call;
}

void OpenCalls::End(OpenCall& call) {
  MutexLock lock(mutex_);
  calls_.erase(call.place_);
  const auto count = counts_.find({call.caller_.site_id, call.kind_});
  if (--count->second == 0) counts_.erase(count);
}

void OpenCalls::Watch() {
  MutexLock lock(mutex_);
  while (!stopping_) {
    const auto now = std::chrono::steady_clock::now();
    for (OpenCall* const call : calls_) {
      if (now >= call->until_.load()) {
        call->end_(UnreachableError("nothing came for too long"));
      } else if (const absl::Status member = CheckMember(call->caller_, store_); !member.ok()) {
        call->end_(member);
      }
    }
    lock.WaitFor(changed_, kLook);
  }
}

}  // namespace fedglm
