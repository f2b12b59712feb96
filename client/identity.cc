#include "client/identity.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/tls.h"

namespace fedglm {
namespace {

constexpr uint64_t kMaxMembership = 1 << 16;
constexpr int kPrivate = 0600;

}  // namespace

absl::StatusOr<TlsKeyPem> LoadOrMakeSiteKey(const std::filesystem::path& folder) {
  absl::StatusOr<TlsKeyPem> existing = ReadPem<TlsKeyPem>(folder / "key.pem");
  if (existing.ok() || existing.status().code() != absl::StatusCode::kNotFound) return existing;
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(folder, 0700));
  FEDGLM_ASSIGN_OR_RETURN(TlsKeyPem key, GenerateTlsKey());
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(folder / "key.pem", key.secret_text(), kPrivate));
  return key;
}

absl::StatusOr<SiteIdentity> LoadIdentity(const std::filesystem::path& folder) {
  const std::filesystem::path membership = folder / "membership.json";
  FEDGLM_ASSIGN_OR_RETURN(const std::string text, ReadFile(membership, kMaxMembership));
  FEDGLM_ASSIGN_OR_RETURN(const Json json, ParseJson(text, membership.string()));
  SiteIdentity identity;
  FEDGLM_ASSIGN_OR_RETURN(identity.site_id, RequireString(json, "site_id"));
  FEDGLM_ASSIGN_OR_RETURN(identity.federation, RequireString(json, "federation"));
  FEDGLM_ASSIGN_OR_RETURN(identity.federation_address, RequireString(json, "federation_address"));
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
                        ": remove identity/membership.json, and start the node again with a new token");
  }
  return absl::OkStatus();
}

absl::Status SaveIdentity(const SiteIdentity& identity, const std::filesystem::path& folder) {
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(folder, 0700));
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(folder / "key.pem", identity.key_pem.secret_text(), kPrivate));
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(folder / "cert.pem", identity.certificate_pem.text(), kPrivate));
  FEDGLM_RETURN_IF_ERROR(WriteFileAtomically(folder / "ca.pem", identity.ca_pem.text(), kPrivate));
  FEDGLM_RETURN_IF_ERROR(
      WriteFileAtomically(folder / "signing-public.pem", identity.signing_public_pem.text(), kPrivate));
  const Json membership = {{"version", 1},
                           {"site_id", identity.site_id},
                           {"federation", identity.federation},
                           {"federation_address", identity.federation_address}};
  return WriteFileAtomically(folder / "membership.json", DumpJson(membership, 2) + "\n", kPrivate);
}

}  // namespace fedglm
