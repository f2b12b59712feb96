#include "tests/soak/load.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "tests/soak/answer_check.h"
#include "tests/soak/http_client.h"

namespace fedglm::soak {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kAnswerLimit{120'000};  // far above what is seen: an answer that never ends is wrong
constexpr milliseconds kRefusalPause{60};      // of the refused client, between two
constexpr milliseconds kRetryPause{300};       // of one that found no room: sooner than it was told, as bad clients are
constexpr milliseconds kSlowRead{40};
constexpr milliseconds kWantedPoll{100};
constexpr uint64_t kSeedsApart = 1000, kRefusedSeed = 999;  // each client's own sequence
constexpr size_t kLeaveAfterBytes = 1500;                   // some events
constexpr int kSlowReaderBuffer = 2048;
constexpr size_t kWrongShown = 20;
// Full and half empty by turns: refusals in the one, free places and idle pages in the other.
constexpr double kRushSeconds = 20, kCalmSeconds = 10;
constexpr int kCalmStreams = 5;
// The load gives way to the server, and the client that measures to nobody: its figures are to be the server's, not its
// own wait for a processor. Without the right to a negative value it stays at 0, which is still above the load.
constexpr int kLoadNice = 10, kMeasureNice = -10;

void SetNice(int nice) { setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), nice); }

std::string HttpText(const SoakRequest& request, const std::string& id) {
  return request.method + " " + request.path + " HTTP/1.1\r\nHost: localhost\r\nx-request-id: " + id +
         "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(request.body.size()) + "\r\n\r\n" +
         request.body;
}

}  // namespace

// One connection after another, each for as many requests as it stands.
class Load::Client {
 public:
  Client(Load& load, std::string name) : load_(load), name_(std::move(name)) {}

  void Leave() { connection_.reset(); }

  // Asks, and books what comes of it. The answer, if there is one.
  std::optional<HttpAnswer> Ask(const SoakRequest& request) {
    const std::string id = (request.timed ? "" : kUntimedId) + name_ + "-" + std::to_string(++count_);
    if (absl::Status status = Connect(request); !status.ok()) {
      load_.Record(request, "no connection", status);
      return std::nullopt;
    }
    const std::string text = HttpText(request, id);
    if (request.manner == Manner::kHalfSent) return LeaveHalfSent(request, text);
    if (absl::Status status = connection_->Send(text); !status.ok()) {
      load_.Record(request, "not sent", status);
      Leave();
      return std::nullopt;
    }
    if (request.manner == Manner::kLeaveBeforeAnswer) {
      std::this_thread::sleep_for(milliseconds(count_ % 60));
      load_.Record(request, "left", absl::OkStatus());
      Leave();
      return std::nullopt;
    }
    absl::StatusOr<HttpAnswer> answer = connection_->Receive(kAnswerLimit, [&](const std::string& body) {
      if (request.manner == Manner::kSlowReader) std::this_thread::sleep_for(kSlowRead);
      return request.manner != Manner::kLeaveInStream || body.size() < kLeaveAfterBytes;
    });
    if (!connection_->usable() || request.manner == Manner::kSlowReader) Leave();
    if (!answer.ok()) {
      const bool left = request.manner == Manner::kLeaveInStream && absl::IsCancelled(answer.status());
      load_.Record(request, left ? "left" : "no answer", left ? absl::OkStatus() : answer.status());
      return std::nullopt;
    }
    load_.Record(request, std::to_string(answer->status), Annotate(CheckAnswer(request, id, *answer), id));
    return *std::move(answer);
  }

 private:
  absl::Status Connect(const SoakRequest& request) {
    const bool slow = request.manner == Manner::kSlowReader;
    if (connection_ && !slow) return absl::OkStatus();
    FEDGLM_ASSIGN_OR_RETURN(connection_, HttpConnection::Open(load_.options_.port, slow ? kSlowReaderBuffer : 0));
    return absl::OkStatus();
  }

  std::optional<HttpAnswer> LeaveHalfSent(const SoakRequest& request, const std::string& text) {
    const size_t part = count_ % 4 == 0 ? 20 : text.size() - request.body.size() / 2;  // in the head, or in the body
    (void)connection_->Send(std::string_view(text).substr(0, part));
    std::this_thread::sleep_for(milliseconds(count_ % 500));
    load_.Record(request, "left", absl::OkStatus());
    Leave();
    return std::nullopt;
  }

  Load& load_;
  const std::string name_;
  uint64_t count_ = 0;
  std::optional<HttpConnection> connection_;
};

Load::Load(LoadOptions options) : options_(std::move(options)) {
  for (int i = 0; i < options_.streams; ++i) threads_.emplace_back([this, i] { RunClient(i); });
  threads_.emplace_back([this] { RunRefusedClient(); });
}

Load::~Load() {
  {
    MutexLock lock(mutex_);
    state_ = State::kEnded;
    changed_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
}

void Load::Pause() {
  MutexLock lock(mutex_);
  state_ = State::kPaused;
  while (at_work_ > 0) lock.Wait(changed_);
}

void Load::Resume() {
  MutexLock lock(mutex_);
  state_ = State::kRunning;
  changed_.notify_all();
}

LoadResults Load::Results() const {
  MutexLock lock(mutex_);
  return results_;
}

bool Load::IsWanted(int number) const {
  const bool rush = std::fmod(clock_.Seconds(), kRushSeconds + kCalmSeconds) < kRushSeconds;
  return state_ == State::kRunning && (rush || number < kCalmStreams);
}

bool Load::BeginWork(int number) {
  MutexLock lock(mutex_);
  while (state_ != State::kEnded && !IsWanted(number)) lock.WaitFor(changed_, kWantedPoll);
  if (state_ == State::kEnded) return false;
  ++at_work_;
  return true;
}

bool Load::MayWork(int number) const {
  MutexLock lock(mutex_);
  return IsWanted(number);
}

void Load::EndWork() {
  MutexLock lock(mutex_);
  --at_work_;
  changed_.notify_all();
}

void Load::Rest(milliseconds time) {
  MutexLock lock(mutex_);
  if (state_ == State::kRunning) lock.WaitFor(changed_, time);
}

void Load::Record(const SoakRequest& request, const std::string& outcome, const absl::Status& status) {
  MutexLock lock(mutex_);
  LoadResults::Kind& kind = results_.kinds[request.kind];
  ++kind.sent;
  ++kind.outcomes[outcome];
  if (status.ok()) return;
  ++results_.wrong;
  if (results_.first_wrong.size() < kWrongShown) results_.first_wrong.push_back(request.kind + ": " + Message(status));
}

void Load::RecordRefusal(const SoakRequest& request, double seconds) {
  MutexLock lock(mutex_);
  if (request.timed) results_.refusal_seconds.push_back(seconds);
  double& slowest = results_.slowest[request.refused_with != 0 ? request.kind : "no room"];
  slowest = std::max(slowest, seconds);
}

void Load::RunClient(int number) {
  SetNice(kLoadNice);
  RequestMix mix(options_.seed * kSeedsApart + static_cast<uint64_t>(number), options_.model);
  Client client(*this, "client" + std::to_string(number));
  while (BeginWork(number)) {
    while (MayWork(number)) {
      const std::optional<HttpAnswer> answer = client.Ask(mix.Next());
      if (answer && answer->headers.contains("retry-after")) Rest(kRetryPause);
    }
    client.Leave();
    EndWork();
  }
}

// Every second request is a good one, which finds the queue full, or else is left as soon as it is answered. Every
// third comes on a new connection.
void Load::RunRefusedClient() {
  SetNice(kMeasureNice);
  RequestMix mix(options_.seed * kSeedsApart + kRefusedSeed, options_.model);
  Client client(*this, "refused");
  for (int count = 0; BeginWork(0);) {
    for (; MayWork(0); ++count) {
      if (count % 3 == 0) client.Leave();
      SoakRequest request = count % 2 == 0 ? mix.NextRefused() : mix.NextStream();
      if (request.refused_with == 0) request.manner = Manner::kLeaveInStream;
      const std::optional<HttpAnswer> answer = client.Ask(request);
      if (answer && answer->status != 200) RecordRefusal(request, answer->first_byte_seconds);
      std::this_thread::sleep_for(kRefusalPause);
    }
    client.Leave();
    EndWork();
  }
}

}  // namespace fedglm::soak
