// Tokens and their exchange for a certificate, and the next certificate of a member.
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <string>

#include "aggregator/membership/certificate_authority.h"
#include "aggregator/options/aggregator_options.h"
#include "aggregator/store/store.h"
#include "base/clock.h"
#include "base/status.h"
#include "base/thread_annotations.h"

namespace fedglm {

// What a new site is given, out of band: everything it needs to find and trust the aggregator, once.
// "fgt1." and base64url of {"secret","ca","address"}.
std::string FormatToken(const std::string& secret, const CaCertificatePem& ca_pem,
                        const std::string& enrolment_address);

// Thread-safe.
class Enrolment {
 public:
  Enrolment(const AggregatorOptions& options, Store& store, const CertificateAuthority& authority, Clock& clock)
      : options_(options), store_(store), authority_(authority), clock_(clock) {}

  // The token's text. Its secret is stored as a hash only. `site_name` empty: for any name.
  absl::StatusOr<std::string> CreateToken(const std::string& site_name, std::chrono::seconds lifetime,
                                          const std::string& enrolment_address, const std::string& actor);

  struct Membership {
    std::string site_id;
    CertificatePem certificate_pem;
  };
  // Refused if the token is unknown, used, expired, or for another name. The same token and request again give the same
  // certificate: the first answer may have been lost.
  absl::StatusOr<Membership> Enrol(const std::string& secret, const std::string& site_name,
                                   const std::string& request_pem);

  // The next certificate of a member, which asked for it with the present one. The same request again gives the same
  // one, another request another one in its place. Refused if the site is unknown or revoked, or asked for more
  // than eight in an hour: each costs a signature and two entries of the store.
  absl::StatusOr<CertificatePem> Renew(const std::string& site_id, const std::string& request_pem);

 private:
  absl::StatusOr<CertificatePem> Issue(const std::string& site_name, const std::string& request_pem) const;
  bool MayIssue(const std::string& site_id);  // and counts it
  const AggregatorOptions& options_;
  Store& store_;
  const CertificateAuthority& authority_;
  Clock& clock_;
  Mutex mutex_;
  // By site: when it was given its last ones.
  std::map<std::string, std::deque<std::chrono::steady_clock::time_point>> issued_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fedglm
