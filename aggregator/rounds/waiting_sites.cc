#include "aggregator/rounds/waiting_sites.h"

namespace fedglm {

void WaitingSites::Add(const std::string& site_id, Waiter waiter, Answers& answers) {
  const auto [before, is_new] = waiters_.try_emplace(site_id);
  if (!is_new) answers.Add(std::move(before->second.told), Work(WaitWork{}));
  before->second = std::move(waiter);
}

void WaitingSites::EndAllOf(const std::string& site_id, Answers& answers) {
  const auto waiter = waiters_.find(site_id);
  if (waiter != waiters_.end()) End(site_id, waiter->second.call, answers);
}

void WaitingSites::End(const std::string& site_id, uint64_t call, Answers& answers) {
  const auto waiter = waiters_.find(site_id);
  if (waiter == waiters_.end() || waiter->second.call != call) return;
  answers.Add(std::move(waiter->second.told), Work(WaitWork{}));
  waiters_.erase(waiter);
}

void WaitingSites::Answer(Time now,
                          const std::function<absl::StatusOr<Work>(const std::string&, const SitePosition&)>& work_for,
                          Answers& answers) {
  for (auto waiter = waiters_.begin(); waiter != waiters_.end();) {
    absl::StatusOr<Work> work = work_for(waiter->first, waiter->second.position);
    if (work.ok() && std::holds_alternative<WaitWork>(*work) && now < waiter->second.until) {
      ++waiter;
      continue;
    }
    answers.Add(std::move(waiter->second.told), std::move(work));
    waiter = waiters_.erase(waiter);
  }
}

void WaitingSites::Expire(Time now, Answers& answers) {
  Answer(
      now, [](const std::string&, const SitePosition&) { return Work(WaitWork{}); }, answers);
}

void WaitingSites::EndAll(Answers& answers) { Expire(Time::max(), answers); }

}  // namespace fedglm
