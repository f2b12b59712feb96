// The rounds as a state machine over the store: who has what to do, which updates are in, when a round is closed and
// what adapter comes out. Every state is on disk before anybody is told of it, so that a killed aggregator goes on as
// if it had only been slow, and makes the same adapter, byte for byte.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "adapter/adapter.h"
#include "adapter/tensors.h"
#include "aggregator/membership/certificate_authority.h"
#include "aggregator/options/aggregator_options.h"
#include "aggregator/rounds/cohort.h"
#include "aggregator/rounds/federation_summary.h"
#include "aggregator/rounds/publisher.h"
#include "aggregator/rounds/round_combiner.h"
#include "aggregator/rounds/site_reports.h"
#include "aggregator/rounds/waiting_sites.h"
#include "aggregator/rules/instances.h"
#include "aggregator/rules/presence.h"
#include "aggregator/rules/round_verdict.h"
#include "aggregator/rules/update_claim.h"
#include "aggregator/store/artifacts.h"
#include "aggregator/store/store.h"
#include "aggregator/updates/spool.h"
#include "base/clock.h"
#include "base/thread_annotations.h"

namespace fedglm {

// Thread-safe.
class RoundMachine {
 public:
  // `states` holds what the strategy remembers, in a folder of its own.
  static absl::StatusOr<std::unique_ptr<RoundMachine>> Open(const AggregatorOptions& options, Store& store,
                                                            const Artifacts& artifacts, const Artifacts& states,
                                                            Spool& spool, const CertificateAuthority& authority,
                                                            Clock& clock);
  ~RoundMachine();

  const std::string& base_sha256() const { return base_sha256_; }
  const AggregatorOptions& options() const { return options_; }

  // `told` is called once: before this returns if there is something to do or an error, else when there is, after
  // `max_wait`, when the site asks anew or StopWaiting is called. Refused if another node has the site's identity. The
  // call's number.
  uint64_t AwaitWork(const std::string& site_id, const SitePosition& position, std::chrono::milliseconds max_wait,
                     Told told);
  void StopWaiting(const std::string& site_id, uint64_t call);

  // The update's row: expected if `claim` may be uploaded by this site now, else how it was decided, which it is here
  // if the claim is at fault. Refused if no such update is, or was, this site's to send.
  absl::StatusOr<UpdateRow> CheckClaim(const std::string& site_id, const UpdateClaim& claim);
  // Decides on the update whose bytes are all in the spool. The row says accepted, or refused with the reason; an error
  // means that nothing was decided (a disk error; bytes of another digest, which are removed).
  absl::StatusOr<UpdateRow> DecideUpdate(const std::string& site_id, const UpdateClaim& claim);

  // A site called for something else: it is there.
  void Heard(const std::string& site_id);
  // A site is at a job: it is there. False if nobody waits for that any more.
  absl::StatusOr<bool> Works(const std::string& site_id, const SiteJob& job);

  // As SiteReports'.
  absl::Status ReportEvaluation(const std::string& site_id, int64_t round, const SiteLoss& report);
  absl::Status ReportFailedEvaluation(const std::string& site_id, int64_t round);
  absl::Status ReportRejection(const std::string& site_id, int64_t round, const std::string& adapter_sha256,
                               const std::string& reason);
  absl::Status Revoke(const std::string& site_id, const std::string& reason, const std::string& actor);
  // The adapter of an earlier round (0: the initial one) becomes the latest again, signed as that of a new round; an
  // open round ends with it. The strategy forgets what it remembers. Refused if there is no such round.
  absl::Status RollBack(int64_t round, const std::string& reason, const std::string& actor);
  // An operator's orders; refused where they make no sense, with the reason. The open round is closed now, with what is
  // in (at least the quorum) …
  absl::Status CloseNow(const std::string& reason, const std::string& actor);
  // … or begins again from nothing: what was accepted does not count …
  absl::Status Abort(const std::string& reason, const std::string& actor);
  // … or does not wait for this site's update.
  absl::Status Skip(const std::string& site_id, const std::string& reason, const std::string& actor);
  // While the federation is paused no round is opened; one that is open goes on. Kept over a restart.
  absl::Status SetPaused(bool paused, const std::string& reason, const std::string& actor);
  FederationSummary Summary();
  std::map<std::string, SitePresence> Present();

 private:
  RoundMachine(const AggregatorOptions& options, Store& store, const Artifacts& artifacts, const Artifacts& states,
               Spool& spool, const CertificateAuthority& authority, Clock& clock);
  absl::Status Load();
  void Run();  // the thread: opens and closes rounds
  absl::Status Advance() ABSL_LOCKS_EXCLUDED(mutex_);
  void KeepTelling();  // a thread of its own: sites are told while a round is combined
  // Tells the sites that wait what there is to do, if there is news for all, else those that waited long enough.
  void TellSites() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::optional<DecidedRound>> OpenOrDecideRound() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  RoundProgress Progress() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  RoundRow NextRound(int64_t now_unix_ms) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status OpenRound() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status BeginAgain(const std::string& reason) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes the latest adapter back if too many of the sites that made it decline it. True if so.
  absl::StatusOr<bool> TakeBackRejected() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status RollBackTo(const std::string& adapter_sha256, const std::string& what, const std::string& actor)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The round is closed in the store: `round` and `adapter` are the latest.
  void Adopt(const RoundRow& round, Adapter adapter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Reads, folds and signs without the lock, which takes as long as the updates are large: sites and administrators are
  // answered meanwhile.
  absl::Status CloseRound(const DecidedRound& decided) ABSL_LOCKS_EXCLUDED(mutex_);
  // The disk lost an update that was accepted. Failed, and the site is asked for it once more.
  absl::Status ExpectAgain(int64_t round, const std::string& update_id) ABSL_LOCKS_EXCLUDED(mutex_);
  // A site that asks is there. Refused if it is the second node with this identity.
  absl::Status Admit(const std::string& site_id, const SitePosition& position) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<Work> WorkFor(const std::string& site_id, const SitePosition& position)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint64_t Aborts() ABSL_LOCKS_EXCLUDED(mutex_);
  // Reads the claimed update, a piece at a time, and writes into the row what is to be decided. Errors of DecideUpdate.
  absl::Status Examine(const UpdateClaim& claim, UpdateRow& update) ABSL_EXCLUSIVE_LOCKS_REQUIRED(deciding_)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Writes down how an expected update was decided.
  absl::Status Decide(const UpdateRow& update) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The round is looked at; with NewsForAll the sites that wait are also told.
  void Changed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void NewsForAll() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  static constexpr char kPausedSetting[] = "paused";  // in the store; empty: it is not

  const AggregatorOptions options_;
  const std::shared_ptr<const Strategy> strategy_;
  Store& store_;
  const Artifacts& states_;
  Spool& spool_;
  const Publisher publisher_;
  const RoundCombiner combiner_;
  Clock& clock_;
  const std::chrono::steady_clock::time_point started_;
  // Constant once opened.
  std::string base_sha256_;
  uint64_t max_update_bytes_ = 0;

  // One update is read at a time, however many arrive.
  Mutex deciding_ ABSL_ACQUIRED_BEFORE(mutex_);
  Mutex mutex_;
  std::condition_variable changed_, to_tell_;
  uint64_t generation_ ABSL_GUARDED_BY(mutex_) = 0;
  bool news_ ABSL_GUARDED_BY(mutex_) = false;  // since the sites that wait were last told
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false, paused_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t latest_ ABSL_GUARDED_BY(mutex_) = 0;          // last closed round; 0: only the initial adapter
  std::string latest_adapter_ ABSL_GUARDED_BY(mutex_);  // its artifact
  std::string latest_state_ ABSL_GUARDED_BY(mutex_);    // what the strategy remembered then
  std::shared_ptr<const Adapter> global_ ABSL_GUARDED_BY(mutex_);
  std::optional<RoundRow> open_ ABSL_GUARDED_BY(mutex_);
  // Of the open round, or the last one: when it began, when it last asked for updates, until when. On this clock no
  // round is longer or shorter because somebody sets the time.
  std::chrono::steady_clock::time_point began_ ABSL_GUARDED_BY(mutex_), asked_ ABSL_GUARDED_BY(mutex_),
      deadline_ ABSL_GUARDED_BY(mutex_);
  std::string not_taken_back_ ABSL_GUARDED_BY(mutex_);  // an adapter of which that failed
  std::string why_again_ ABSL_GUARDED_BY(mutex_);       // the last reason that was audited
  uint64_t aborts_ ABSL_GUARDED_BY(mutex_) = 0;         // how often a round was begun from nothing
  std::string why_late_ ABSL_GUARDED_BY(mutex_);        // whoever does not get into the round
  uint64_t last_call_ ABSL_GUARDED_BY(mutex_) = 0;
  WaitingSites waiting_ ABSL_GUARDED_BY(mutex_);
  Instances instances_ ABSL_GUARDED_BY(mutex_);
  SiteReports reports_ ABSL_GUARDED_BY(mutex_);
  Presence presence_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_, telling_;
};

}  // namespace fedglm
