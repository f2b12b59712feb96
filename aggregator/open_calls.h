// The calls of sites that are going on: how many each may have, how long it may say nothing, and that it ends within a
// second of the site's being revoked. A site can so hold no more of the aggregator than its share.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "aggregator/peer_identity.h"
#include "aggregator/store/store.h"
#include "base/status.h"
#include "base/thread_annotations.h"

namespace fedglm {

enum class CallKind { kWork, kUpload, kDownload, kShort };

class OpenCalls;

// One call, counted while it lives.
class OpenCall {
 public:
  ~OpenCall();
  OpenCall(const OpenCall&) = delete;
  OpenCall& operator=(const OpenCall&) = delete;
  const Caller& caller() const { return caller_; }
  // Something came: it is ended if nothing more comes for so long.
  void Expect(std::chrono::steady_clock::duration within);
  void ExpectNothing();

 private:
  friend class OpenCalls;
  using Time = std::chrono::steady_clock::time_point;
  OpenCall(OpenCalls& calls, Caller caller, CallKind kind, std::function<void(const absl::Status&)> end)
      : calls_(calls), caller_(std::move(caller)), kind_(kind), end_(std::move(end)) {}
  OpenCalls& calls_;
  const Caller caller_;
  const CallKind kind_;
  const std::function<void(const absl::Status&)> end_;
  std::atomic<Time> until_{Time::max()};
  std::list<OpenCall*>::iterator place_;
};

// Thread-safe.
class OpenCalls {
 public:
  explicit OpenCalls(const Store& store);
  ~OpenCalls();

  // `end` is called, maybe more than once and never after the OpenCall is gone, with the reason why the call must end.
  // It only starts that, and takes no lock that is held where an OpenCall is destroyed. ResourceExhausted if the site
  // has as many calls of that kind as it may.
  absl::StatusOr<std::unique_ptr<OpenCall>> Begin(Caller caller, CallKind kind,
                                                  std::function<void(const absl::Status&)> end);

 private:
  friend class OpenCall;
  void End(OpenCall& call);
  void Watch();  // the thread

  const Store& store_;
  Mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::list<OpenCall*> calls_ ABSL_GUARDED_BY(mutex_);
  std::map<std::pair<std::string, CallKind>, int> counts_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace fedglm
