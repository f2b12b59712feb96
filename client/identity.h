// Who this site is: its key, made here and never sent, and what enrolment gave it. A folder that only this user can
// read: key.pem, cert.pem, ca.pem, signing-public.pem, membership.json. Beside it, in FOLDER.next, another identity
// comes into being, and takes its place in one step: a site that is killed at any instant has the one or the other.
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
  std::string token_sha256;         // of the token that it enrolled with; empty: not known
};

// NotFound if the site is not enrolled yet. Refused if the certificate is from another authority. Goes on with an
// exchange that was interrupted.
absl::StatusOr<SiteIdentity> LoadIdentity(const std::filesystem::path& folder);

// Refused if the certificate is not valid at `now`: the aggregator would only hang up on it, without a word.
absl::Status CheckValidity(const SiteIdentity& identity, std::chrono::system_clock::time_point now);

// Refused if it is not one to live with: the certificate is not of the CA, not for the key, not for the site's name, or
// not valid at `now`. To be asked before it takes another one's place.
absl::Status CheckUsable(const SiteIdentity& identity, std::chrono::system_clock::time_point now);

// membership.json is written last: a folder with it is complete.
absl::Status SaveIdentity(const SiteIdentity& identity, const std::filesystem::path& folder);

// The site's key: made at the first call, read afterwards.
absl::StatusOr<TlsKeyPem> LoadOrMakeSiteKey(const std::filesystem::path& folder);

// The certificate request for that key: the same when it is asked for again, and a signature never is, so it is kept.
absl::StatusOr<std::string> LoadOrMakeRequest(const std::filesystem::path& folder, const TlsKeyPem& key_pem,
                                              const std::string& site_name);

// Where the key and the request of the next identity lie until there is an answer.
std::filesystem::path NextIdentityFolder(const std::filesystem::path& folder);

// `next`, whose key is that of NextIdentityFolder, takes the place of what is in `folder`, in one step.
absl::Status ExchangeIdentity(const SiteIdentity& next, const std::filesystem::path& folder);

}  // namespace fedglm
