// How this site becomes a member: its key is made here; the token and a certificate request give a certificate.
// docs/federation-protocol.md.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/pem.h"
#include "base/status.h"
#include "client/identity.h"

namespace fedglm {

// What a site is given out of band: "fgt1." and base64url of {"secret","ca","address"}.
struct EnrolmentToken {
  std::string secret;
  CaCertificatePem ca_pem;
  std::string address;
  std::string sha256;  // of the token's text, by which a site knows it again
};

absl::StatusOr<EnrolmentToken> ParseToken(std::string_view text);  // Refused if it is none

// Enrols as `site_name` and writes the identity folder. May be repeated with the same token while the folder's key is
// the same. Refused, also if the answer is not one to be kept, or Unreachable.
absl::StatusOr<SiteIdentity> EnrolSite(const EnrolmentToken& token, const std::string& site_name,
                                       const std::filesystem::path& identity_folder);

// The same for a site that has an identity there already, which stays until the new one takes its place in one step.
absl::StatusOr<SiteIdentity> EnrolSiteAnew(const EnrolmentToken& token, const std::string& site_name,
                                           const std::filesystem::path& identity_folder);

}  // namespace fedglm
