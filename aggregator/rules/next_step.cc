#include "aggregator/rules/next_step.h"

#include <algorithm>

namespace fedglm {

bool IsSetback(std::string_view word) {
  static constexpr std::string_view kWords[] = {"records", "held-out", "adapter", "machine"};
  return std::find(std::begin(kWords), std::end(kWords), word) != std::end(kWords);
}

NextStep StepFor(const SitePosition& site, const FederationPosition& federation) {
  const bool runs_latest = site.installed_sha256.empty() ? site.installed_round == federation.round
                                                         : site.installed_sha256 == federation.adapter_sha256;
  const bool declines_latest = site.declined_sha256 == federation.adapter_sha256;
  if (!runs_latest && !declines_latest) return NextStep::kInstall;
  if (declines_latest && !site.trains_from_declined) return NextStep::kWait;
  if (federation.expected) return NextStep::kTrain;
  return federation.finished ? NextStep::kFinished : NextStep::kWait;
}

bool IsRejected(int64_t declined, int64_t sites, double reject_share) {
  return declined > 0 && static_cast<double>(declined) > reject_share * static_cast<double>(sites);
}

}  // namespace fedglm
