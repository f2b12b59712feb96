// The load of a soak: clients that ask one thing after another, and one that does nothing but be refused and times it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/thread_annotations.h"
#include "tests/soak/request_mix.h"

namespace fedglm::soak {

struct LoadOptions {
  int port = 0;
  int streams = 32;  // clients at once; more than the engine has places, so that some are refused
  uint64_t seed = 1;
  ServedModel model;
};

// What has been seen so far.
struct LoadResults {
  struct Kind {
    int64_t sent = 0;
    std::map<std::string, int64_t> outcomes;  // "200", "429", "left", …
  };
  std::map<std::string, Kind> kinds;
  std::vector<double> refusal_seconds;    // of the refused client: its last byte to the answer's first
  std::map<std::string, double> slowest;  // of those, by kind
  int64_t wrong = 0;                      // answers that are not what they should be
  std::vector<std::string> first_wrong;   // some of them, in words
};

// Ids of requests with SoakRequest::timed false begin so.
inline constexpr const char* kUntimedId = "untimed-";

// Thread-safe.
class Load {
 public:
  explicit Load(LoadOptions options);
  ~Load();  // ends the clients, after the answers they wait for

  // After Pause() no client has a connection.
  void Pause();
  void Resume();
  LoadResults Results() const;

 private:
  class Client;
  enum class State { kRunning, kPaused, kEnded };

  void RunClient(int number);
  void RunRefusedClient();
  // Waits until the client is wanted; false at the end. From then to EndWork() it may have a connection.
  bool BeginWork(int number);
  bool MayWork(int number) const;
  void EndWork();
  void Rest(std::chrono::milliseconds time);  // or until something changes
  bool IsWanted(int number) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Record(const SoakRequest& request, const std::string& outcome, const absl::Status& status);
  void RecordRefusal(const SoakRequest& request, double seconds);

  const LoadOptions options_;
  const Stopwatch clock_;
  mutable Mutex mutex_;
  std::condition_variable changed_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kRunning;
  int at_work_ ABSL_GUARDED_BY(mutex_) = 0;
  LoadResults results_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

}  // namespace fedglm::soak
