// A site without a model: its own connection and certificate, the wire's own messages, and updates that are ready.
#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"
#include "base/thread_annotations.h"
#include "bench/federation/simulated_federation.h"
#include "fedglm/v1/federation.grpc.pb.h"

namespace fedglm::bench {

// What all sites of a run share. Thread-safe.
class SiteProgress {
 public:
  void Moved();     // some of something arrived
  void Finished();  // for one more site
  void Failed(const grpc::Status& status);
  // Failed if a call of a site failed, or nothing happened for two minutes.
  absl::Status AwaitFinished(int64_t sites);

 private:
  Mutex mutex_;
  std::condition_variable changed_;
  int64_t finished_ ABSL_GUARDED_BY(mutex_) = 0, events_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string fault_ ABSL_GUARDED_BY(mutex_);
};

// Asks for work, sends its update, fetches the adapter, and so on until the federation is finished. No thread of its
// own: gRPC's call what comes next.
class SimulatedSite {
 public:
  // Of the server at `address`.
  SimulatedSite(const SimulatedFederation& federation, const std::string& address, const SimulatedMember& member,
                SiteProgress& progress);

  // A question that is answered at once, of a site that has so many records; its status.
  grpc::Status AskOnce(int64_t records);
  void Run();  // returns at once

 private:
  class Upload;
  class Download;
  v1::NextTaskRequest Request(uint32_t wait_ms, int64_t records) const;
  void Ask();
  void Do(const v1::Task& task);
  void Install(int64_t round);

  const SimulatedFederation& federation_;
  SiteProgress& progress_;
  std::unique_ptr<v1::Federation::Stub> stub_;
  v1::NextTaskRequest request_;
  v1::Task task_;
  int64_t installed_round_ = 0;
  std::string installed_sha256_;
};

}  // namespace fedglm::bench
