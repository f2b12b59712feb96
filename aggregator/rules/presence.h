// Which sites are there, what they said of themselves when they last asked for work, and what is news of it. In memory:
// after a start it is known again as soon as they ask.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>

#include "aggregator/rules/next_step.h"

namespace fedglm {

// What a site says while it is at a job.
struct SiteJob {
  int64_t round = 0;  // whose update it makes; 0: none
  int64_t step = 0, steps = 0;
};

struct SitePresence {
  using Time = std::chrono::steady_clock::time_point;
  SitePosition position;
  SiteJob job;
  std::optional<Time> asked;   // when it last asked for work
  Time heard;                  // when anything was last heard of it
  Time progressed;             // when it last did what brings a round on: asked, sent a chunk, did a step
  Time held_back;              // since when its setback is not empty
  bool says_it_works = false;  // an older node says nothing while it trains
  std::string told;            // the setback that was last news
  Time told_at;                // and when
};

// Not thread-safe.
class Presence {
 public:
  // What an administrator is to hear: an audit entry's action and detail. Once in ten minutes for a site, however
  // often it changes its mind.
  struct News {
    std::string action, detail;
  };
  std::optional<News> Asked(const std::string& site_id, const SitePosition& position,
                            std::chrono::steady_clock::time_point now);

  // It called for something else; with `progress` it sent part of an update.
  void Heard(const std::string& site_id, std::chrono::steady_clock::time_point now, bool progress);
  void Works(const std::string& site_id, const SiteJob& job, std::chrono::steady_clock::time_point now);

  const SitePresence* Find(
      const std::string& site_id) const;  // nullptr: nothing was heard of it since this program started
  const std::map<std::string, SitePresence>& sites() const { return sites_; }
  // A round with its quorum does not wait for a site of which nothing was heard for `silence`, which was held back for
  // as long, or which did nothing that brings the round on for six times as long. `started`: when this program was.
  bool IsSilent(const std::string& site_id, std::chrono::steady_clock::time_point started,
                std::chrono::steady_clock::time_point now, std::chrono::steady_clock::duration silence) const;
  bool AnyDeclines(const std::string& adapter_sha256) const;

 private:
  std::map<std::string, SitePresence> sites_;
};

}  // namespace fedglm
