// Sites whose call waits for work: no thread waits with them.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "aggregator/rounds/work.h"
#include "aggregator/rules/next_step.h"
#include "base/status.h"

namespace fedglm {

// Called once with what the call was waiting for. Not under a lock; it does not block, for others are told after it.
using Told = std::function<void(absl::StatusOr<Work>)>;

// Not thread-safe.
class WaitingSites {
 public:
  using Time = std::chrono::steady_clock::time_point;
  struct Waiter {
    SitePosition position;
    Time until;
    uint64_t call = 0;
    Told told;
  };
  // Who is told what, once no lock is held.
  class Answers {
   public:
    void Add(Told told, absl::StatusOr<Work> work) { answers_.emplace_back(std::move(told), std::move(work)); }
    void Tell() {
      for (auto& [told, work] : answers_) told(std::move(work));
      answers_.clear();
    }

   private:
    std::vector<std::pair<Told, absl::StatusOr<Work>>> answers_;
  };

  // A site waits once: its call before is told to wait and ask again.
  void Add(const std::string& site_id, Waiter waiter, Answers& answers);
  void EndAllOf(const std::string& site_id, Answers& answers);  // it asks anew
  // The call `call`, if it still waits.
  void End(const std::string& site_id, uint64_t call, Answers& answers);
  // All of those for which `work_for` has more than WaitWork, and, with that, those that waited long enough. An error
  // is told, too.
  void Answer(Time now, const std::function<absl::StatusOr<Work>(const std::string&, const SitePosition&)>& work_for,
              Answers& answers);
  // Only the latter.
  void Expire(Time now, Answers& answers);
  void EndAll(Answers& answers);

 private:
  std::map<std::string, Waiter> waiters_;
};

}  // namespace fedglm
