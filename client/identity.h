// Who this site is: its key, made here and never sent, and what enrolment gave it. A folder that only this user can
// read: key.pem, cert.pem, ca.pem, signing-public.pem, membership.json.
#pragma once

#include <chrono>
#include <filesystem>
#include <string>

#include "base/pem.h"
#include "base/status.h"

namespace fedglm {

struct SiteIdentity {
  std::string site_id;
  std::string federation;          // the federation's name
  std::string federation_address;  // host:port of the Federation service
  TlsKeyPem key_pem;
  CertificatePem certificate_pem;
  CaCertificatePem ca_pem;          // whom the aggregator's certificate must come from
  PublicKeyPem signing_public_pem;  // whose signature every adapter must bear
};

// NotFound if the site is not enrolled yet. Refused if the certificate is from another authority.
absl::StatusOr<SiteIdentity> LoadIdentity(const std::filesystem::path& folder);

// Refused if the certificate is not valid at `now`: the aggregator would only hang up on it, without a word.
absl::Status CheckValidity(const SiteIdentity& identity, std::chrono::system_clock::time_point now);

// membership.json is written last: a folder with it is complete.
absl::Status SaveIdentity(const SiteIdentity& identity, const std::filesystem::path& folder);

// The site's key: made at the first call, read afterwards.
absl::StatusOr<TlsKeyPem> LoadOrMakeSiteKey(const std::filesystem::path& folder);

}  // namespace fedglm
