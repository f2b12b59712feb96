// Keys, certificates, signatures (OpenSSL 3, whose headers are not included here). PEM everywhere (base/pem.h).
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/pem.h"
#include "base/status.h"

namespace fedglm {

// A new EC P-256 private key for TLS, or an Ed25519 one for signatures.
absl::StatusOr<TlsKeyPem> GenerateTlsKey();
absl::StatusOr<SigningKeyPem> GenerateSigningKey();
absl::StatusOr<PublicKeyPem> PublicKeyOf(const SigningKeyPem& key);

// Ed25519 over the bytes.
absl::StatusOr<std::string> Sign(const SigningKeyPem& key, std::string_view bytes);
absl::Status VerifySignature(const PublicKeyPem& key, std::string_view bytes, std::string_view signature);

struct CertificateFacts {
  std::string common_name;
  std::string serial_hex;
  std::string sha256_hex;  // of the DER form
  std::chrono::system_clock::time_point not_before, not_after;
};
absl::StatusOr<CertificateFacts> DescribeCertificate(const CertificatePem& certificate);
absl::StatusOr<CertificateFacts> DescribeCertificate(const CaCertificatePem& certificate);

// Refused if the certificate does not bear the CA's signature. Says nothing of times and uses.
absl::Status CheckIssuedBy(const CertificatePem& certificate, const CaCertificatePem& ca);

// Refused if the certificate is for another key.
absl::Status CheckBelongsTo(const CertificatePem& certificate, const TlsKeyPem& key);

// A self-signed CA certificate for `key`.
absl::StatusOr<CaCertificatePem> MakeCaCertificate(const TlsKeyPem& key, std::string_view common_name,
                                                   std::chrono::system_clock::time_point now,
                                                   std::chrono::hours lifetime);

// A certificate request signed with `key`; the issuer takes nothing from it but the public key.
absl::StatusOr<std::string> MakeCertificateRequest(const TlsKeyPem& key, std::string_view common_name);

struct CertificateTerms {
  std::string common_name;
  std::vector<std::string> dns_names;  // subjectAltName, also IP addresses
  bool server = false;                 // extended key usage: serverAuth, else clientAuth
  std::chrono::system_clock::time_point not_before, not_after;
};
// A certificate for the public key in `request_pem` (its self-signature is verified), signed by the CA, with a random
// 128-bit serial. The subject and names are those of `terms`, whatever the request says.
absl::StatusOr<CertificatePem> IssueCertificate(const TlsKeyPem& ca_key, const CaCertificatePem& ca_certificate,
                                                std::string_view request_pem, const CertificateTerms& terms);

}  // namespace fedglm
