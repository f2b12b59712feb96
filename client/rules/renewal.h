// When a node does something for its own membership: asks for its next certificate, says that the present one ends,
// enrols anew. Pure: no clock, no chance of its own, no file, no network.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace fedglm {

using WallTime = std::chrono::system_clock::time_point;
using Elapsed = std::chrono::steady_clock::duration;

struct Validity {
  WallTime not_before, not_after;
};

// From when on the next certificate is asked for: two thirds of its life.
WallTime RenewalDue(const Validity& certificate);

// Whether to ask now. `since_attempt`: since the last time that it was asked in vain, after which an hour passes, and
// up to six minutes more, drawn in [0, 1), so that sites do not come all at once. Never with a certificate that is not
// valid now: the aggregator would not answer.
bool RenewsNow(const Validity& certificate, WallTime now, std::optional<Elapsed> since_attempt, double draw);

// Whether a failed attempt to enrol anew is made again; the same hour.
bool TriesAgain(std::optional<Elapsed> since_attempt, double draw);

// Whether to say that the certificate ends: once a day in its last 30 days, if it should have been renewed by then, as
// one that lives for a week has not on its first day.
bool WarnsOfExpiry(const Validity& certificate, WallTime now, std::optional<Elapsed> since_warning);

// What a token file has to do with a site that is enrolled.
struct TokenFacts {
  std::string enrolled_with;     // SHA-256 of the token; empty: a program wrote the membership that did not note it
  std::string offered;           // of the token that lies there; empty: none
  bool expired = false;          // the present certificate
  bool other_authority = false;  // the token names another CA than the site trusts
};
// Whether to enrol anew with it: if it is not the one that the site enrolled with. If that is not known, only if it
// could not be the same: its certificate is of no use any more, or of another authority.
bool EnrolsAnew(const TokenFacts& token);

}  // namespace fedglm
