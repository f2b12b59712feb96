#include "aggregator/membership/enrolment.h"

#include "base/digest.h"
#include "base/json.h"
#include "base/log.h"
#include "base/tls.h"
#include "proto/site_name.h"

namespace fedglm {
namespace {

constexpr size_t kLongestRequest = 16384, kMostInAnHour = 8;

}  // namespace

std::string FormatToken(const std::string& secret, const CaCertificatePem& ca_pem,
                        const std::string& enrolment_address) {
  return "fgt1." +
         Base64UrlEncode(DumpJson(Json{{"secret", secret}, {"ca", ca_pem.text()}, {"address", enrolment_address}}));
}

absl::StatusOr<std::string> Enrolment::CreateToken(const std::string& site_name, std::chrono::seconds lifetime,
                                                   const std::string& enrolment_address, const std::string& actor) {
  if (!site_name.empty() && !IsSiteName(site_name)) {
    return UsageError("'" + site_name + "' is no site name: letters, digits and '-', at most 63");
  }
  const std::string secret = Base64UrlEncode(SecureRandomBytes(32));
  const auto now = clock_.Now();
  FEDGLM_RETURN_IF_ERROR(store_.Transaction([&]() -> absl::Status {
    FEDGLM_RETURN_IF_ERROR(store_.AddToken({Sha256Hex(secret), site_name, UnixMilliseconds(now + lifetime)}));
    return store_.AddAudit(UnixMilliseconds(now), actor, "token created", site_name.empty() ? "any site" : site_name,
                           "");
  }));
  return FormatToken(secret, authority_.certificate_pem(), enrolment_address);
}

absl::StatusOr<Enrolment::Membership> Enrolment::Enrol(const std::string& secret, const std::string& site_name,
                                                       const std::string& request_pem) {
  const absl::Status refused =
      RefusedError("the token is unknown, used or expired");  // which of them is nobody's business
  if (!IsSiteName(site_name)) return UsageError("a site name is letters, digits and '-', at most 63");
  Membership membership;
  FEDGLM_RETURN_IF_ERROR(store_.Transaction([&]() -> absl::Status {
    const std::string hash = Sha256Hex(secret), key = Sha256Hex(request_pem);
    FEDGLM_ASSIGN_OR_RETURN(const std::optional<TokenRow> token, store_.FindToken(hash));
    const int64_t now = UnixMilliseconds(clock_.Now());
    if (!token || token->expires_unix_ms <= now) return refused;
    if (!token->site_name.empty() && token->site_name != site_name) {
      return RefusedError("the token is for site '" + token->site_name + "'");
    }
    if (!token->used_by.empty()) {
      const std::optional<NodeRow> node = store_.FindNode(token->used_by);
      if (token->used_by != site_name || token->used_key != key || !node) return refused;
      membership = {site_name, node->certificate_pem};
      return absl::OkStatus();
    }
    const std::optional<NodeRow> existing = store_.FindNode(site_name);
    // A name that is taken can only be taken over with a token made for it.
    if (existing && token->site_name.empty()) return RefusedError("there is a site '" + site_name + "' already");
    FEDGLM_ASSIGN_OR_RETURN(const CertificatePem certificate, Issue(site_name, request_pem));
    FEDGLM_ASSIGN_OR_RETURN(const CertificateFacts facts, DescribeCertificate(certificate));
    NodeRow node;
    node.site_id = site_name;
    node.serial = facts.serial_hex;
    node.certificate_pem = certificate;
    FEDGLM_RETURN_IF_ERROR(store_.PutNode(node));
    FEDGLM_RETURN_IF_ERROR(store_.MarkTokenUsed(hash, site_name, key));
    FEDGLM_RETURN_IF_ERROR(
        store_.AddAudit(now, site_name, "site enrolled", site_name, "certificate " + facts.serial_hex));
    membership = {site_name, certificate};
    return absl::OkStatus();
  }));
  LogInfo("site " + site_name + " is enrolled");
  return membership;
}

absl::StatusOr<CertificatePem> Enrolment::Renew(const std::string& site_id, const std::string& request_pem) {
  if (request_pem.size() > kLongestRequest) return UsageError("this is no certificate request");
  const std::string request_sha256 = Sha256Hex(request_pem);
  CertificatePem next;
  FEDGLM_RETURN_IF_ERROR(store_.Transaction([&]() -> absl::Status {
    std::optional<NodeRow> node = store_.FindNode(site_id);
    if (!node) return RefusedError("there is no site '" + site_id + "'");
    if (node->revoked) return RefusedError("site " + site_id + " was revoked");
    if (node->next_request_sha256 != request_sha256) {
      if (!MayIssue(site_id)) return RefusedError("too many certificates in an hour");
      FEDGLM_ASSIGN_OR_RETURN(node->next_certificate_pem, Issue(site_id, request_pem));
      FEDGLM_ASSIGN_OR_RETURN(const CertificateFacts facts, DescribeCertificate(node->next_certificate_pem));
      node->next_serial = facts.serial_hex;
      node->next_request_sha256 = request_sha256;
      FEDGLM_RETURN_IF_ERROR(store_.PutNextCertificate(*node));
    }
    next = node->next_certificate_pem;
    return absl::OkStatus();
  }));
  return next;
}

bool Enrolment::MayIssue(const std::string& site_id) {
  MutexLock lock(mutex_);
  std::deque<std::chrono::steady_clock::time_point>& times = issued_[site_id];
  const auto now = clock_.Monotonic();
  while (!times.empty() && now - times.front() >= std::chrono::hours(1)) times.pop_front();
  if (times.size() >= kMostInAnHour) return false;
  times.push_back(now);
  return true;
}

absl::StatusOr<CertificatePem> Enrolment::Issue(const std::string& site_name, const std::string& request_pem) const {
  return authority_.IssueClient(request_pem, site_name, std::chrono::hours(24) * options_.certificate_days);
}

}  // namespace fedglm
