#include "client/round_loop.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "client/dialling/dial.h"

namespace fedglm {
namespace {

constexpr auto kLongPoll = std::chrono::seconds(30);
constexpr auto kConnect = std::chrono::seconds(5);
constexpr auto kFinishedPause = std::chrono::milliseconds(30000);
constexpr uint32_t kShortestWaitMs = 50, kLongestWaitMs = 60000;

// The aggregator may have moved since the site enrolled.
SiteIdentity Dialled(SiteIdentity identity, const NodeOptions& options) {
  if (!options.federation_address.empty()) identity.federation_address = options.federation_address;
  return identity;
}

}  // namespace

RoundLoop::~RoundLoop() { Stop(); }

bool RoundLoop::Stopping() {
  MutexLock lock(mutex_);
  return stopping_;
}

void RoundLoop::Pause(std::chrono::milliseconds duration) {
  MutexLock lock(mutex_);
  if (!stopping_ && !look_again_) lock.WaitFor(woken_, duration);
}

void RoundLoop::LookAgain() {
  MutexLock lock(mutex_);
  look_again_ = true;
  woken_.notify_all();
}

bool RoundLoop::TakeLookAgain() {
  MutexLock lock(mutex_);
  return std::exchange(look_again_, false);
}

RoundLoop::Membership::Membership(const SiteIdentity& i, RoundLoop& loop)
    : identity(i),
      aggregator(Dialled(identity, loop.rooms_.options), loop.rooms_.options.state_dir / "artifacts"),
      participant({loop.rooms_.options, identity, loop.rooms_.base_sha256, aggregator, loop.rooms_.trainer,
                   loop.rooms_.outbox, loop.rooms_.fits, loop.rooms_.install, [&loop] { return loop.Stopping(); }}),
      installed(participant.Resume()) {}

void RoundLoop::Join(const SiteIdentity& identity) {
  {
    MutexLock lock(mutex_);
    calling_ = nullptr;
  }
  member_ = std::make_unique<Membership>(identity, *this);
  {
    MutexLock lock(mutex_);
    calling_ = &member_->aggregator;
    if (stopping_) calling_->Cancel();
  }
  const std::string address = Dialled(identity, rooms_.options).federation_address;
  LogInfo("site " + identity.site_id + " of federation '" + identity.federation + "' at " + address +
          ProxyInWords(address) + ", " + std::to_string(rooms_.trainer.training_records()) + " records, " +
          std::to_string(rooms_.trainer.held_out_records()) + " held out");
}

absl::Status RoundLoop::Install(const v1::InstallTask& task) {
  RoundParticipant& participant = member_->participant;
  const std::string declined_before = participant.standing().declined_sha256;
  const absl::StatusOr<InstalledRound> installed = participant.Install(task);
  if (installed.ok()) member_->installed = *installed;
  // It has been said, the aggregator is told, and will not offer it again: there is nothing to try again.
  const bool declined_now = participant.standing().declined_sha256 != declined_before;
  return installed.ok() || declined_now ? absl::OkStatus() : installed.status();
}

absl::Status RoundLoop::Do(const v1::Task& task) {
  switch (task.task_case()) {
    case v1::Task::kTrain:
      return member_->participant.Train(task.train());
    case v1::Task::kInstall:
      return Install(task.install());
    case v1::Task::kFinished:
      Pause(kFinishedPause);
      return absl::OkStatus();
    default:
      // Also for a task that this node does not know.
      Pause(std::chrono::milliseconds(std::clamp(task.wait().retry_after_ms(), kShortestWaitMs, kLongestWaitMs)));
      return absl::OkStatus();
  }
}

absl::Status RoundLoop::BeMember() {
  if (TakeLookAgain()) rooms_.keeper.LookAgain();
  if (member_ == nullptr) {
    FEDGLM_ASSIGN_OR_RETURN(const SiteIdentity identity, rooms_.keeper.Begin());
    Join(identity);
  } else if (const std::optional<SiteIdentity> anew = rooms_.keeper.EnrolAnew(member_->identity)) {
    Join(*anew);
  }
  FEDGLM_RETURN_IF_ERROR(CheckValidity(member_->identity, Clock::System().Now()));
  if (member_->aggregator.AwaitConnection(kConnect)) {
    if (const std::optional<SiteIdentity> renewed = rooms_.keeper.Renew(member_->identity, member_->aggregator)) {
      member_->identity = *renewed;
      member_->aggregator.Adopt(Dialled(*renewed, rooms_.options));
    }
  }
  rooms_.keeper.WarnOfExpiry(member_->identity);
  return absl::OkStatus();
}

absl::Status RoundLoop::TakePart() {
  FEDGLM_RETURN_IF_ERROR(BeMember());
  FEDGLM_RETURN_IF_ERROR(member_->participant.SendWaiting());
  FEDGLM_ASSIGN_OR_RETURN(const v1::Task task,
                          member_->aggregator.NextTask({member_->installed, member_->participant.standing(),
                                                        rooms_.base_sha256, rooms_.trainer.training_records()},
                                                       kLongPoll));
  return Do(task);
}

void RoundLoop::Run() {
  while (!Stopping()) {
    const absl::Status status = TakePart();
    if (Stopping()) return;
    const auto now = std::chrono::steady_clock::now();
    if (status.ok()) {
      if (const std::string say = persistence_.Worked(now); !say.empty()) LogInfo("the federation " + say);
      continue;
    }
    const double draw = static_cast<double>(random_()) / static_cast<double>(std::minstd_rand::max());
    const Persistence::Answer answer = persistence_.Failed(status, now, draw);
    if (!answer.say.empty()) LogWarning(answer.say);
    Pause(answer.pause);
  }
}

void RoundLoop::Start() {
  thread_ = std::thread([this] { Run(); });
}

void RoundLoop::Stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    woken_.notify_all();
    if (calling_ != nullptr) calling_->Cancel();
  }
  if (thread_.joinable()) thread_.join();
}

}  // namespace fedglm
