#include "client/rules/renewal.h"

namespace fedglm {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

constexpr auto kBetweenAttempts = hours(1);
constexpr auto kLongestDelay = minutes(6);
constexpr auto kBetweenWarnings = hours(24);
constexpr auto kLastDays = hours(24 * 30);

}  // namespace

WallTime RenewalDue(const Validity& certificate) {
  return certificate.not_before + (certificate.not_after - certificate.not_before) / 3 * 2;
}

bool TriesAgain(std::optional<Elapsed> since_attempt, double draw) {
  if (!since_attempt) return true;
  const std::chrono::duration<double> delay = draw * std::chrono::duration<double>(kLongestDelay);
  return *since_attempt >= kBetweenAttempts + std::chrono::duration_cast<Elapsed>(delay);
}

bool RenewsNow(const Validity& certificate, WallTime now, std::optional<Elapsed> since_attempt, double draw) {
  return now >= RenewalDue(certificate) && now >= certificate.not_before && now < certificate.not_after &&
         TriesAgain(since_attempt, draw);
}

bool WarnsOfExpiry(const Validity& certificate, WallTime now, std::optional<Elapsed> since_warning) {
  return now < certificate.not_after && certificate.not_after - now <= kLastDays && now >= RenewalDue(certificate) &&
         (!since_warning || *since_warning >= kBetweenWarnings);
}

bool EnrolsAnew(const TokenFacts& token) {
  if (token.offered.empty()) return false;
  if (token.enrolled_with.empty()) return token.expired || token.other_authority;
  return token.offered != token.enrolled_with;
}

}  // namespace fedglm
