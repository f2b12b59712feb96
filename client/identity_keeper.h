// What keeps a site a member of its federation for years: it enrols, enrols anew when its operator gives it another
// token, asks for its next certificate in time, and says when the present one ends.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <random>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "client/enrolment_client.h"
#include "client/identity.h"
#include "client/node_options.h"

namespace fedglm {

class FederationClient;

// From one thread at a time. What goes wrong with the identity that is to come never touches the present one: it is
// said once in the log and tried again, at most once an hour (client/rules/renewal.h).
class IdentityKeeper {
 public:
  // `token`: what lay in options.token_file when the process could still read every file; empty: nothing.
  IdentityKeeper(const NodeOptions& options, const std::string& token, Clock& clock = Clock::System());

  // The site's identity as it lies in its folder, or another one that a new token gave. Of a site that is not enrolled
  // yet: errors as ParseToken and EnrolSite, ConfigurationError without a token.
  absl::StatusOr<SiteIdentity> Begin();

  // The token file is read again, and what went wrong less than an hour ago is tried again.
  void LookAgain();

  // Another identity, if there is a token that is not the one of `present`, and it gave one.
  std::optional<SiteIdentity> EnrolAnew(const SiteIdentity& present);

  // The identity with the next key and certificate, if it is time and `aggregator`, which shows `present`, gave one. It
  // is on disk already.
  std::optional<SiteIdentity> Renew(const SiteIdentity& present, FederationClient& aggregator);

  void WarnOfExpiry(const SiteIdentity& present);

 private:
  struct Attempts {
    std::optional<std::chrono::steady_clock::time_point> last;
    double draw = 0;
    std::string said;
  };
  std::optional<std::chrono::steady_clock::duration> Since(
      const std::optional<std::chrono::steady_clock::time_point>& time) const;
  void Note(Attempts& attempts);  // that one begins now
  void Failed(Attempts& attempts, const std::string& what, const absl::Status& status);
  void SetToken(const std::string& text);
  absl::StatusOr<SiteIdentity> AskForNext(const SiteIdentity& present, FederationClient& aggregator);

  const std::string site_;
  const std::filesystem::path folder_, token_file_;
  Clock& clock_;
  absl::StatusOr<EnrolmentToken> token_;  // NotFound: there is none
  Attempts enrolment_, renewal_;
  std::optional<std::chrono::steady_clock::time_point> warned_;
  std::minstd_rand random_{std::random_device()()};
};

}  // namespace fedglm
