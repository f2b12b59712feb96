// The rounds as a state machine over the store: who has what to do, which updates are in, when a round is closed and
// what adapter comes out. Every state is on disk before anybody is told of it, so that a killed aggregator goes on as
// if it had only been slow, and makes the same adapter, byte for byte.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <variant>

#include "adapter/adapter.h"
#include "adapter/tensors.h"
#include "aggregator/aggregator_options.h"
#include "aggregator/artifacts.h"
#include "aggregator/certificate_authority.h"
#include "aggregator/rules/round_result.h"
#include "aggregator/rules/update_claim.h"
#include "aggregator/site_reports.h"
#include "aggregator/store.h"
#include "aggregator/updates/mapped_updates.h"
#include "aggregator/updates/spool.h"
#include "base/clock.h"
#include "base/thread_annotations.h"

namespace fedglm {

// What a site is to do next.
struct WaitWork {};
struct TrainWork {
  int64_t round = 0;
  std::string adapter_sha256, update_id;
};
struct InstallWork {
  int64_t round = 0;
  std::string adapter_sha256;
};
struct FinishedWork {};
using Work = std::variant<WaitWork, TrainWork, InstallWork, FinishedWork>;

struct FederationSummary {
  std::string state;  // waiting, training, aggregating, finished
  int64_t round = 0;  // the one that is open, or the last one
  int64_t updates_received = 0, updates_expected = 0;
  std::string adapter_sha256;
};

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

  // Waits up to `max_wait` until there is something to do; `cancelled` is asked meanwhile. A site has one such call at
  // a time: a newer one ends the older one, so that a site that calls and forgets holds one thread, not all.
  absl::StatusOr<Work> NextWork(const std::string& site_id, int64_t installed_round, int64_t training_records,
                                std::chrono::milliseconds max_wait, const std::function<bool()>& cancelled);

  // The update's row: expected if `claim` may be uploaded by this site now, else how it was decided, which it is here
  // if the claim is at fault. Refused if no such update is, or was, this site's to send.
  absl::StatusOr<UpdateRow> CheckClaim(const std::string& site_id, const UpdateClaim& claim);
  // Decides on the update whose bytes are all in the spool. The row says accepted, or refused with the reason; an error
  // means that nothing was decided (a disk error; bytes of another digest, which are removed).
  absl::StatusOr<UpdateRow> DecideUpdate(const std::string& site_id, const UpdateClaim& claim);

  // As SiteReports'.
  absl::Status ReportEvaluation(const std::string& site_id, int64_t round, const SiteLoss& report);
  absl::Status ReportFailedEvaluation(const std::string& site_id, int64_t round);
  absl::Status ReportRejection(const std::string& site_id, int64_t round, const std::string& adapter_sha256,
                               const std::string& reason);
  absl::Status Revoke(const std::string& site_id, const std::string& reason, const std::string& actor);
  FederationSummary Summary();

 private:
  RoundMachine(const AggregatorOptions& options, Store& store, const Artifacts& artifacts, const Artifacts& states,
               Spool& spool, const CertificateAuthority& authority, Clock& clock);
  absl::Status Load();
  absl::Status PublishInitialAdapter();
  absl::Status CheckBelongs();  // ConfigurationError if the state folder is another federation's
  void Run();                   // the thread: opens and closes rounds
  // A round of which no update is expected any more. Nothing of it changes until its thread closes it.
  struct DecidedRound {
    RoundRow round;
    std::vector<UpdateRow> accepted;        // in the order of their ids
    std::shared_ptr<const Adapter> global;  // that the updates were trained from
  };
  absl::Status Advance() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<std::optional<DecidedRound>> OpenOrDecideRound() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  using Cohort = std::vector<std::pair<std::string, std::string>>;  // (update id, site id)
  // Sites that have records and asked for work since then, or took part in the round before.
  absl::StatusOr<Cohort> PresentSites(const RoundRow& round, int64_t since_unix_ms)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status OpenRound() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status BeginAgain(const std::string& reason) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ForgiveOutage() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Reads, folds and signs without the lock, which takes as long as the updates are large: sites and administrators are
  // answered meanwhile.
  absl::Status CloseRound(const DecidedRound& decided) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<RoundResult> Combine(const DecidedRound& decided) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<TensorMap> ReadState(const std::string& sha256) const;  // empty if `sha256` is
  // Failed, and the update is expected again, if its bytes are lost.
  absl::Status MapAccepted(const UpdateRow& update, MappedUpdates& updates) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<Work> WorkFor(const std::string& site_id, int64_t installed_round)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Reads the claimed update, which is in memory meanwhile, and writes into the row what is to be decided. Errors of
  // DecideUpdate.
  absl::Status Examine(const UpdateClaim& claim, UpdateRow& update) ABSL_EXCLUSIVE_LOCKS_REQUIRED(deciding_)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Writes down how an expected update was decided, and wakes whoever waits for it.
  absl::Status Decide(const UpdateRow& update) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Changed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const AggregatorOptions options_;
  const std::shared_ptr<const Strategy> strategy_;
  Store& store_;
  const Artifacts& artifacts_;
  const Artifacts& states_;
  Spool& spool_;
  const CertificateAuthority& authority_;
  Clock& clock_;
  // Constant once opened.
  std::string base_sha256_;
  uint64_t max_update_bytes_ = 0;

  // One update is in memory at a time, however many arrive.
  Mutex deciding_ ABSL_ACQUIRED_BEFORE(mutex_);
  Mutex mutex_;
  std::condition_variable changed_;
  uint64_t generation_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t latest_ ABSL_GUARDED_BY(mutex_) = 0;          // last closed round; 0: only the initial adapter
  std::string latest_adapter_ ABSL_GUARDED_BY(mutex_);  // its artifact
  std::string latest_state_ ABSL_GUARDED_BY(mutex_);    // what the strategy remembered then
  std::shared_ptr<const Adapter> global_ ABSL_GUARDED_BY(mutex_);
  std::optional<RoundRow> open_ ABSL_GUARDED_BY(mutex_);
  int64_t asked_unix_ms_ ABSL_GUARDED_BY(mutex_) = 0;              // when a round last began again
  std::string why_again_ ABSL_GUARDED_BY(mutex_);                  // the last reason that was audited
  std::map<std::string, uint64_t> calls_ ABSL_GUARDED_BY(mutex_);  // of NextWork, by site: the number of the newest
  SiteReports reports_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace fedglm
