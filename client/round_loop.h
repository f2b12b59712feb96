// The thread that takes part in the federation: asks for work, does it, and tries again whatever went wrong. It ends
// when it is told to and for no other reason: the node serves its site beside it.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>

#include "base/status.h"
#include "base/thread_annotations.h"
#include "client/federation_client.h"
#include "client/identity.h"
#include "client/identity_keeper.h"
#include "client/node_options.h"
#include "client/outbox.h"
#include "client/round_participant.h"
#include "client/rules/setback.h"
#include "client/trainer_supervisor.h"

namespace fedglm {

// Everything it uses outlives it.
struct RoundLoopRooms {
  const NodeOptions& options;
  const std::string& base_sha256;
  TrainerSupervisor& trainer;
  Outbox& outbox;
  std::function<absl::Status(const Adapter&)> fits;                     // as ParticipantRooms
  std::function<absl::Status(std::shared_ptr<const Adapter>)> install;  // as ParticipantRooms
  IdentityKeeper& keeper;                                               // the thread's, once it runs
};

class RoundLoop {
 public:
  explicit RoundLoop(RoundLoopRooms rooms) : rooms_(std::move(rooms)) {}
  ~RoundLoop();  // stops

  // Of a member, before Start(): the adapter that ran in its last life goes into the engine again.
  void Join(const SiteIdentity& identity);
  void Start();
  // The token file and the certificate are looked at again: at once in a pause, else after the call or the job that is
  // going on.
  void LookAgain();
  // Ends the call or the job that is going on, and waits for the thread.
  void Stop();

 private:
  void Run();
  absl::Status TakePart();
  absl::Status BeMember();  // or say why it is none
  bool TakeLookAgain();
  absl::Status Do(const v1::Task& task);
  absl::Status Install(const v1::InstallTask& task);
  bool Stopping();
  void Pause(std::chrono::milliseconds duration);

  struct Membership {
    Membership(const SiteIdentity& identity, RoundLoop& loop);
    SiteIdentity identity;  // as it is on disk
    FederationClient aggregator;
    RoundParticipant participant;
    InstalledRound installed;
  };

  const RoundLoopRooms rooms_;
  // The thread's, once it runs.
  std::unique_ptr<Membership> member_;
  Persistence persistence_;
  std::minstd_rand random_{std::random_device()()};

  Mutex mutex_;
  std::condition_variable woken_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool look_again_ ABSL_GUARDED_BY(mutex_) = false;
  FederationClient* calling_ ABSL_GUARDED_BY(mutex_) = nullptr;  // member_'s
  std::thread thread_;
};

}  // namespace fedglm
