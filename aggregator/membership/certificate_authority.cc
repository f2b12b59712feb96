#include "aggregator/membership/certificate_authority.h"

#include <functional>

#include "base/digest.h"
#include "base/file.h"

namespace fedglm {
namespace {

using std::chrono::hours;
constexpr hours kYear = hours(24 * 365), kMonth = hours(24 * 30);
// Clocks of sites differ: a certificate is valid a little before it was made.
constexpr hours kSkew = hours(1);

const std::string& FileText(const TlsKeyPem& key) { return key.secret_text(); }
const std::string& FileText(const SigningKeyPem& key) { return key.secret_text(); }
const std::string& FileText(const PublicKeyPem& key) { return key.text(); }
const std::string& FileText(const CaCertificatePem& certificate) { return certificate.text(); }

// The file's content, made by `make` if there is none yet.
template <typename AnyPem>
absl::StatusOr<AnyPem> LoadOrMake(const std::filesystem::path& path, int mode,
                                  const std::function<absl::StatusOr<AnyPem>()>& make) {
  absl::StatusOr<AnyPem> existing = ReadPem<AnyPem>(path);
  if (existing.ok() || existing.status().code() != absl::StatusCode::kNotFound) return existing;
  FEDGLM_ASSIGN_OR_RETURN(AnyPem made, make());
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(path, FileText(made), mode));
  return made;
}

}  // namespace

absl::Status CertificateAuthority::CheckComplete(const std::filesystem::path& folder) {
  for (const char* name : {"ca-key.pem", "ca.pem", "signing-key.pem", "signing-public.pem"}) {
    std::error_code error;
    if (std::filesystem::exists(folder / name, error)) continue;
    return ConfigurationError((folder / name).string() +
                              ": missing from a state folder that is in use; restore it from the backup");
  }
  return absl::OkStatus();
}

absl::StatusOr<CertificateAuthority> CertificateAuthority::Open(const std::filesystem::path& folder,
                                                                const std::string& federation, Clock& clock) {
  CertificateAuthority ca;
  ca.clock_ = &clock;
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(folder, 0700));
  FEDGLM_ASSIGN_OR_RETURN(ca.key_, LoadOrMake<TlsKeyPem>(folder / "ca-key.pem", 0600, GenerateTlsKey));
  FEDGLM_ASSIGN_OR_RETURN(ca.certificate_, LoadOrMake<CaCertificatePem>(folder / "ca.pem", 0644, [&] {
                            return MakeCaCertificate(ca.key_, federation + " CA", clock.Now() - kSkew, 20 * kYear);
                          }));
  FEDGLM_ASSIGN_OR_RETURN(ca.signing_key_,
                          LoadOrMake<SigningKeyPem>(folder / "signing-key.pem", 0600, GenerateSigningKey));
  FEDGLM_ASSIGN_OR_RETURN(ca.signing_public_, LoadOrMake<PublicKeyPem>(folder / "signing-public.pem", 0644,
                                                                       [&] { return PublicKeyOf(ca.signing_key_); }));
  FEDGLM_RETURN_IF_ERROR(ca.MakeAdministrator(folder / "admin"));
  return ca;
}

absl::Status CertificateAuthority::MakeAdministrator(const std::filesystem::path& folder) const {
  const absl::StatusOr<CertificatePem> existing = ReadPem<CertificatePem>(folder / "cert.pem");
  if (existing.ok()) {
    FEDGLM_ASSIGN_OR_RETURN(const CertificateFacts facts, DescribeCertificate(*existing));
    if (facts.not_after > clock_->Now() + kMonth) return absl::OkStatus();
  }
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(folder, 0700));
  FEDGLM_ASSIGN_OR_RETURN(const TlsKeyPem key, GenerateTlsKey());
  FEDGLM_ASSIGN_OR_RETURN(const std::string request, MakeCertificateRequest(key, "admin:first"));
  FEDGLM_ASSIGN_OR_RETURN(const CertificatePem certificate, IssueClient(request, "admin:first", kYear));
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(folder / "ca.pem", certificate_.text(), 0600));
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(folder / "key.pem", key.secret_text(), 0600));
  return WriteFileAtomically(folder / "cert.pem", certificate.text(), 0600);
}

absl::StatusOr<CertificatePem> CertificateAuthority::IssueClient(std::string_view request_pem,
                                                                 const std::string& common_name, hours lifetime) const {
  CertificateTerms terms;
  terms.common_name = common_name;
  terms.not_before = clock_->Now() - kSkew;
  terms.not_after = clock_->Now() + lifetime;
  return IssueCertificate(key_, certificate_, request_pem, terms);
}

absl::StatusOr<CertificateAuthority::Identity> CertificateAuthority::IssueServer(
    const std::vector<std::string>& host_names) const {
  Identity identity;
  FEDGLM_ASSIGN_OR_RETURN(identity.key_pem, GenerateTlsKey());
  FEDGLM_ASSIGN_OR_RETURN(const std::string request, MakeCertificateRequest(identity.key_pem, host_names.front()));
  CertificateTerms terms;
  terms.common_name = host_names.front();
  terms.dns_names = host_names;
  terms.server = true;
  terms.not_before = clock_->Now() - kSkew;
  terms.not_after = clock_->Now() + kYear;  // made anew at every start
  FEDGLM_ASSIGN_OR_RETURN(identity.certificate_pem, IssueCertificate(key_, certificate_, request, terms));
  return identity;
}

absl::StatusOr<std::string> CertificateAuthority::SignAdapter(std::string_view bytes) const {
  FEDGLM_ASSIGN_OR_RETURN(const std::string signature, Sign(signing_key_, bytes));
  return Base64UrlEncode(signature);
}

// The same key: the texts begin differently, so that neither signature is good for the other.
absl::StatusOr<std::string> CertificateAuthority::SignCheckpoint(std::string_view text) const {
  FEDGLM_ASSIGN_OR_RETURN(const std::string signature, Sign(signing_key_, text));
  return Base64UrlEncode(signature);
}

}  // namespace fedglm
