// One HTTP request to an upstream, its answer read as it comes.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "base/thread_annotations.h"

namespace fedglm {

struct UpstreamRequest {
  std::string scheme_host_port;  // "https://llm.site:8443"
  std::string host, address;     // the name and the address it must lead to
  std::string path;              // "/v1/chat/completions"
  std::string body;              // JSON
  std::string api_key;           // empty: none
  std::string request_id;
  std::string ca_file;  // empty: the system's
  double connect_seconds = 5, read_seconds = 120;
};

struct UpstreamHead {
  int status = 0;  // HTTP; 0: there was no answer
  std::string content_type;
  std::string failure;  // of status 0
};

// Thread-safe. Runs in a thread of its own from its construction on; no redirect is followed, no proxy is asked.
class UpstreamCall {
 public:
  explicit UpstreamCall(UpstreamRequest request);
  ~UpstreamCall();  // cancels, and waits for the thread

  // Nothing while it has not come.
  std::optional<UpstreamHead> Head(std::chrono::milliseconds timeout);
  // The next bytes of the body; empty if none came in time.
  std::string Next(std::chrono::milliseconds timeout);
  bool ended() const;   // all bytes have been read
  bool broken() const;  // the body ended before its end
  void Cancel();

 private:
  struct Client;
  void Run();
  bool Put(const char* bytes, size_t count);

  const UpstreamRequest request_;
  const std::unique_ptr<Client> client_;
  mutable Mutex mutex_;
  std::condition_variable changed_;
  std::optional<UpstreamHead> head_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::string> chunks_ ABSL_GUARDED_BY(mutex_);
  size_t held_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace fedglm
