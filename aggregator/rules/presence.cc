#include "aggregator/rules/presence.h"

#include <algorithm>
#include <utility>

namespace fedglm {
namespace {

constexpr auto kQuiet = std::chrono::minutes(10);
constexpr int kPatience = 6;

// From what the others wait for: who only likes an adapter less than the one before trains from it all the same.
bool IsHeldBack(const SitePosition& position) { return !position.setback.empty() && !position.trains_from_declined; }

}  // namespace

std::optional<Presence::News> Presence::Asked(const std::string& site_id, const SitePosition& position,
                                              std::chrono::steady_clock::time_point now) {
  SitePresence& site = sites_[site_id];
  if (!IsHeldBack(position) || site.progressed == SitePresence::Time()) site.progressed = now;
  if (IsHeldBack(position) && !IsHeldBack(site.position)) site.held_back = now;
  site.position = position;
  site.job = {};
  site.asked = site.heard = now;
  site.says_it_works = !position.version.empty();
  const bool has_told = site.told_at != std::chrono::steady_clock::time_point();
  if (position.setback == site.told || (has_told && now - site.told_at < kQuiet)) return std::nullopt;
  site.told_at = now;
  const std::string before = std::exchange(site.told, position.setback);
  if (position.setback.empty()) return News{"site is well again", before};
  return News{"site is held back", position.setback};
}

void Presence::Heard(const std::string& site_id, std::chrono::steady_clock::time_point now, bool progress) {
  SitePresence& site = sites_[site_id];
  site.heard = now;
  if (progress || site.progressed == SitePresence::Time()) site.progressed = now;
}

void Presence::Works(const std::string& site_id, const SiteJob& job, std::chrono::steady_clock::time_point now) {
  const SiteJob before = sites_[site_id].job;
  Heard(site_id, now, job.round != before.round || job.step > before.step);
  sites_[site_id].job = job;
  sites_[site_id].says_it_works = true;
}

bool Presence::IsSilent(const std::string& site_id, std::chrono::steady_clock::time_point started,
                        std::chrono::steady_clock::time_point now, std::chrono::steady_clock::duration silence) const {
  const SitePresence* const site = Find(site_id);
  if (site == nullptr) return now - started >= kPatience * silence;  // it may be an older one, which trains
  if (IsHeldBack(site->position) && now - site->held_back >= silence) return true;
  return site->says_it_works && (now - site->heard >= silence || now - site->progressed >= kPatience * silence);
}

const SitePresence* Presence::Find(const std::string& site_id) const {
  const auto found = sites_.find(site_id);
  return found == sites_.end() ? nullptr : &found->second;
}

bool Presence::AnyDeclines(const std::string& adapter_sha256) const {
  return std::any_of(sites_.begin(), sites_.end(),
                     [&](const auto& site) { return site.second.position.declined_sha256 == adapter_sha256; });
}

}  // namespace fedglm
