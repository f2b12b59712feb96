// The federation's own CA and signing key, made at the first start and kept in the state folder: ca-key.pem, ca.pem,
// signing-key.pem, signing-public.pem, and admin/ with the first administrator's key and certificate, which are made
// anew at a start less than a month before they expire.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "base/tls.h"

namespace fedglm {

// Immutable after Open; thread-safe.
class CertificateAuthority {
 public:
  // ConfigurationError that names the first file of Open's that is missing: to make it anew in a folder that is in use
  // would end the federation, whose sites trust what they were given.
  static absl::Status CheckComplete(const std::filesystem::path& folder);
  static absl::StatusOr<CertificateAuthority> Open(const std::filesystem::path& folder, const std::string& federation,
                                                   Clock& clock);

  // For the public key in the request, valid from now for `lifetime`.
  absl::StatusOr<CertificatePem> IssueClient(std::string_view request_pem, const std::string& common_name,
                                             std::chrono::hours lifetime) const;

  struct Identity {
    TlsKeyPem key_pem;
    CertificatePem certificate_pem;
  };
  absl::StatusOr<Identity> IssueServer(const std::vector<std::string>& host_names) const;

  absl::StatusOr<std::string> SignAdapter(std::string_view bytes) const;    // Ed25519, base64url
  absl::StatusOr<std::string> SignCheckpoint(std::string_view text) const;  // of the audit log; likewise

  const CaCertificatePem& certificate_pem() const { return certificate_; }
  const PublicKeyPem& signing_public_pem() const { return signing_public_; }

 private:
  CertificateAuthority() = default;
  absl::Status MakeAdministrator(const std::filesystem::path& folder) const;
  TlsKeyPem key_;
  CaCertificatePem certificate_;
  SigningKeyPem signing_key_;
  PublicKeyPem signing_public_;
  Clock* clock_ = nullptr;
};

}  // namespace fedglm
