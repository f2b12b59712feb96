// Keys, certificates, signatures (OpenSSL 3, whose headers are not included here). PEM everywhere.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace fedglm {

// A new EC P-256 private key for TLS, or an Ed25519 one for signatures, PKCS#8 PEM.
absl::StatusOr<std::string> GenerateTlsKey();
absl::StatusOr<std::string> GenerateSigningKey();
absl::StatusOr<std::string> PublicKeyOf(std::string_view private_key_pem);  // SubjectPublicKeyInfo PEM

// Ed25519 over the bytes.
absl::StatusOr<std::string> Sign(std::string_view signing_key_pem, std::string_view bytes);
absl::Status VerifySignature(std::string_view public_key_pem, std::string_view bytes, std::string_view signature);

struct CertificateFacts {
  std::string common_name;
  std::string serial_hex;
  std::string sha256_hex;  // of the DER form
  std::chrono::system_clock::time_point not_before, not_after;
};
absl::StatusOr<CertificateFacts> DescribeCertificate(std::string_view certificate_pem);

// Refused if the certificate does not bear the CA's signature. Says nothing of times and uses.
absl::Status CheckIssuedBy(std::string_view certificate_pem, std::string_view ca_certificate_pem);

// A self-signed CA certificate for `key`.
absl::StatusOr<std::string> MakeCaCertificate(std::string_view key_pem, std::string_view common_name,
                                              std::chrono::system_clock::time_point now, std::chrono::hours lifetime);

// A certificate request signed with `key`; the issuer takes nothing from it but the public key.
absl::StatusOr<std::string> MakeCertificateRequest(std::string_view key_pem, std::string_view common_name);

struct CertificateTerms {
  std::string common_name;
  std::vector<std::string> dns_names;  // subjectAltName, also IP addresses
  bool server = false;                 // extended key usage: serverAuth, else clientAuth
  std::chrono::system_clock::time_point not_before, not_after;
};
// A certificate for the public key in `request_pem` (its self-signature is verified), signed by the CA, with a random
// 128-bit serial. The subject and names are those of `terms`, whatever the request says.
absl::StatusOr<std::string> IssueCertificate(std::string_view ca_key_pem, std::string_view ca_certificate_pem,
                                             std::string_view request_pem, const CertificateTerms& terms);

struct RevokedSerial {
  std::string serial_hex;
  std::chrono::system_clock::time_point revoked_at;
};
absl::StatusOr<std::string> MakeRevocationList(std::string_view ca_key_pem, std::string_view ca_certificate_pem,
                                               const std::vector<RevokedSerial>& revoked,
                                               std::chrono::system_clock::time_point now, std::chrono::hours lifetime);

}  // namespace fedglm
