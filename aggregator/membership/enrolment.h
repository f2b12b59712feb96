// Tokens and their exchange for a certificate.
#pragma once

#include <string>

#include "aggregator/membership/certificate_authority.h"
#include "aggregator/options/aggregator_options.h"
#include "aggregator/store/store.h"
#include "base/clock.h"
#include "base/status.h"

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

 private:
  const AggregatorOptions& options_;
  Store& store_;
  const CertificateAuthority& authority_;
  Clock& clock_;
};

}  // namespace fedglm
