#include "client/identity.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/tls.h"

namespace fedglm {
namespace {

constexpr uint64_t kMaxMembership = 1 << 16;
constexpr int kPrivate = 0600;

absl::StatusOr<Json> ReadMembership(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "membership.json";
  FEDGLM_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxMembership));
  return ParseJson(text, path.string());
}

absl::StatusOr<std::string> CertificateDigest(const std::filesystem::path& folder) {
  FEDGLM_ASSIGN_OR_RETURN(const CertificatePem certificate, ReadPem<CertificatePem>(folder / "cert.pem"));
  return Sha256Hex(certificate.text());
}

// `replaces`: the digest of the certificate whose place this identity is to take; empty: it is a site's first.
absl::Status Save(const SiteIdentity& identity, const std::filesystem::path& folder, const std::string& replaces) {
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(folder, 0700));
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(folder / "key.pem", identity.key_pem.secret_text(), kPrivate));
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(folder / "cert.pem", identity.certificate_pem.text(), kPrivate));
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(folder / "ca.pem", identity.ca_pem.text(), kPrivate));
  FEDGLM_RETURN_IF_ERROR(
      WriteFileAtomically(folder / "signing-public.pem", identity.signing_public_pem.text(), kPrivate));
  const Json membership = {{"version", 1},
                           {"site_id", identity.site_id},
                           {"federation", identity.federation},
                           {"federation_address", identity.federation_address},
                           {"token_sha256", identity.token_sha256},
                           {"replaces", replaces}};
  return WriteFileAtomically(folder / "membership.json", DumpJson(membership, 2) + "\n", kPrivate);
}

// A complete identity beside `folder` is either the next one, whose exchange was interrupted, or the one before, which
// was not removed any more. It says itself whose place it is to take. If it cannot, the present one is still good.
void FinishExchange(const std::filesystem::path& folder) {
  const std::filesystem::path next = NextIdentityFolder(folder);
  const absl::StatusOr<Json> membership = ReadMembership(next);
  if (membership.status().code() == absl::StatusCode::kNotFound) return;
  const std::string replaces = membership.ok() ? RequireString(*membership, "replaces").value_or("") : "";
  const absl::StatusOr<std::string> present = CertificateDigest(folder);
  if (!present.ok()) return;  // then this one is not thrown away as well
  std::error_code ignored;
  if (replaces == *present) {
    (void)ReplaceDirectory(next, folder);
  } else {
    std::filesystem::remove_all(next, ignored);
  }
}

}  // namespace

absl::StatusOr<TlsKeyPem> LoadOrMakeSiteKey(const std::filesystem::path& folder) {
  absl::StatusOr<TlsKeyPem> existing = ReadPem<TlsKeyPem>(folder / "key.pem");
  if (existing.ok() || existing.status().code() != absl::StatusCode::kNotFound) return existing;
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(folder, 0700));
  FEDGLM_ASSIGN_OR_RETURN(TlsKeyPem key, GenerateTlsKey());
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(folder / "key.pem", key.secret_text(), kPrivate));
  return key;
}

absl::StatusOr<std::string> LoadOrMakeRequest(const std::filesystem::path& folder, const TlsKeyPem& key_pem,
                                              const std::string& site_name) {
  const std::filesystem::path path = folder / ("request-" + site_name + ".pem");
  absl::StatusOr<std::string> existing = ReadFile(path, 1 << 16);
  if (existing.ok()) return existing;
  FEDGLM_ASSIGN_OR_RETURN(std::string request, MakeCertificateRequest(key_pem, site_name));
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(path, request, kPrivate));
  return request;
}

std::filesystem::path NextIdentityFolder(const std::filesystem::path& folder) { return folder.string() + ".next"; }

absl::StatusOr<SiteIdentity> LoadIdentity(const std::filesystem::path& folder) {
  FinishExchange(folder);
  FEDGLM_ASSIGN_OR_RETURN(const Json json, ReadMembership(folder));
  SiteIdentity identity;
  FEDGLM_ASSIGN_OR_RETURN(identity.site_id, RequireString(json, "site_id"));
  FEDGLM_ASSIGN_OR_RETURN(identity.federation, RequireString(json, "federation"));
  FEDGLM_ASSIGN_OR_RETURN(identity.federation_address, RequireString(json, "federation_address"));
  // Programs before the renewal of certificates did not write it.
  FEDGLM_ASSIGN_OR_RETURN(identity.token_sha256, OptionalString(json, "token_sha256", ""));
  FEDGLM_ASSIGN_OR_RETURN(identity.key_pem, ReadPem<TlsKeyPem>(folder / "key.pem"));
  FEDGLM_ASSIGN_OR_RETURN(identity.certificate_pem, ReadPem<CertificatePem>(folder / "cert.pem"));
  FEDGLM_ASSIGN_OR_RETURN(identity.ca_pem, ReadPem<CaCertificatePem>(folder / "ca.pem"));
  FEDGLM_ASSIGN_OR_RETURN(identity.signing_public_pem, ReadPem<PublicKeyPem>(folder / "signing-public.pem"));
  // What the aggregator would only hang up on is said here.
  FEDGLM_RETURN_IF_ERROR(
      Annotate(CheckIssuedBy(identity.certificate_pem, identity.ca_pem), (folder / "cert.pem").string()));
  return identity;
}

absl::Status CheckValidity(const SiteIdentity& identity, std::chrono::system_clock::time_point now) {
  FEDGLM_ASSIGN_OR_RETURN(const CertificateFacts facts, DescribeCertificate(identity.certificate_pem));
  if (facts.not_before > now) {
    return RefusedError("the site's certificate is not valid before " + FormatUtc(facts.not_before) +
                        ": look at this machine's clock");
  }
  if (facts.not_after <= now) {
    return RefusedError("the site's certificate expired on " + FormatUtc(facts.not_after) +
                        ": a new token in federation.token_file, and SIGHUP or a new start, bring it back");
  }
  return absl::OkStatus();
}

absl::Status CheckUsable(const SiteIdentity& identity, std::chrono::system_clock::time_point now) {
  const absl::StatusOr<CertificateFacts> facts = DescribeCertificate(identity.certificate_pem);
  if (!facts.ok()) return RefusedError("no certificate");
  if (facts->common_name != identity.site_id) return RefusedError("a certificate for another site");
  FEDGLM_RETURN_IF_ERROR(CheckIssuedBy(identity.certificate_pem, identity.ca_pem));
  FEDGLM_RETURN_IF_ERROR(CheckBelongsTo(identity.certificate_pem, identity.key_pem));
  return CheckValidity(identity, now);
}

absl::Status SaveIdentity(const SiteIdentity& identity, const std::filesystem::path& folder) {
  return Save(identity, folder, "");
}

absl::Status ExchangeIdentity(const SiteIdentity& next, const std::filesystem::path& folder) {
  FEDGLM_ASSIGN_OR_RETURN(const std::string present, CertificateDigest(folder));
  // Of an exchange that failed: with it a folder that is half of two identities would look complete.
  std::error_code error;
  std::filesystem::remove(NextIdentityFolder(folder) / "membership.json", error);
  if (error) return FailedError(NextIdentityFolder(folder).string() + ": " + error.message());
  FEDGLM_RETURN_IF_ERROR(Save(next, NextIdentityFolder(folder), present));
  return ReplaceDirectory(NextIdentityFolder(folder), folder);
}

}  // namespace fedglm
