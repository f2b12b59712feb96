// What sites report of adapters: losses, evaluations that failed, adapters that they do not use. Each site is heard
// once about a round, so that neither the store nor the audit log grows by what it repeats.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "aggregator/rules/evaluation.h"
#include "aggregator/store/store.h"
#include "base/clock.h"

namespace fedglm {

// `latest` is the last closed round: a report on a later one, or on none, is Refused. Not thread-safe.
class SiteReports {
 public:
  SiteReports(Store& store, Clock& clock) : store_(store), clock_(clock) {}

  // The first report of a site on a round counts; one that says otherwise later is audited. Refused if the numbers mean
  // nothing.
  absl::Status Evaluation(const std::string& site_id, int64_t round, int64_t latest, const SiteLoss& report);
  // A site could not evaluate an adapter, for a reason of its own: a warning in the log and an entry in the audit log.
  absl::Status FailedEvaluation(const std::string& site_id, int64_t round, int64_t latest);
  // A site does not use an adapter, because of the adapter: as above, and an error in the log.
  absl::Status Rejection(const std::string& site_id, int64_t round, int64_t latest, const std::string& adapter_sha256,
                         const std::string& reason);

 private:
  using LastRounds = std::map<std::string, int64_t>;  // by site: the last round that it said something of
  // Whether a site says it of this round for the first time.
  static absl::StatusOr<bool> IsNews(LastRounds& said, const std::string& site_id, int64_t round, int64_t latest);
  absl::Status Audit(const std::string& site_id, const std::string& action, const std::string& detail);

  Store& store_;
  Clock& clock_;
  LastRounds rejections_, failed_, changed_;
};

}  // namespace fedglm
