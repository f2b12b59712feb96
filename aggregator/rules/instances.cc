#include "aggregator/rules/instances.h"

#include <algorithm>

namespace fedglm {
namespace {

constexpr size_t kRemembered = 8;
constexpr auto kQuiet = std::chrono::minutes(10);

}  // namespace

Instances::Verdict Instances::Ask(const std::string& site_id, const std::string& instance, Time now,
                                  Time::duration silence) {
  if (instance.empty()) return Verdict::kFine;
  Site& site = sites_[site_id];
  const bool is_current = instance == site.current, is_refused = instance == site.refused;
  if (is_refused && now - site.heard < silence) return Verdict::kRefused;
  Verdict verdict = Verdict::kFine;
  if (!is_current) {
    const auto old = std::find(site.before.begin(), site.before.end(), instance);
    if (is_refused) {
      site.refused.clear();  // the other one is gone
    } else if (old != site.before.end()) {
      site.before.erase(old);
      site.refused = site.current;
      if (!site.told || now - *site.told >= kQuiet) verdict = Verdict::kOtherRefused;
      if (verdict == Verdict::kOtherRefused) site.told = now;
    }
    if (!site.current.empty() && site.current != site.refused) site.before.push_back(site.current);
    if (site.before.size() > kRemembered) site.before.pop_front();
    site.current = instance;
  }
  site.heard = now;
  return verdict;
}

void Instances::Heard(const std::string& site_id, Time now) {
  if (const auto site = sites_.find(site_id); site != sites_.end()) site->second.heard = now;
}

}  // namespace fedglm
