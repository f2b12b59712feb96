#include "client/identity_keeper.h"

#include "base/file.h"
#include "base/log.h"
#include "base/tls.h"
#include "client/dialling/dial.h"
#include "client/federation_client.h"
#include "client/rules/renewal.h"

namespace fedglm {
namespace {

constexpr uint64_t kMaxToken = 1 << 16;

// Whether the token is of a federation with another CA than the one that the site trusts.
bool NamesAnotherAuthority(const EnrolmentToken& token, const SiteIdentity& present) {
  const absl::StatusOr<CertificateFacts> named = DescribeCertificate(token.ca_pem),
                                         trusted = DescribeCertificate(present.ca_pem);
  return named.ok() && trusted.ok() && named->sha256_hex != trusted->sha256_hex;
}

}  // namespace

IdentityKeeper::IdentityKeeper(const NodeOptions& options, const std::string& token, Clock& clock)
    : site_(options.site),
      folder_(options.state_dir / "identity"),
      token_file_(options.token_file),
      clock_(clock),
      token_(NotFoundError("no token")) {
  SetToken(token);
}

void IdentityKeeper::SetToken(const std::string& text) {
  if (text.find_first_not_of(" \r\n") == std::string::npos) {
    token_ = NotFoundError("no token");
  } else {
    token_ = ParseToken(text);
  }
}

std::optional<std::chrono::steady_clock::duration> IdentityKeeper::Since(
    const std::optional<std::chrono::steady_clock::time_point>& time) const {
  if (!time) return std::nullopt;
  return clock_.Monotonic() - *time;
}

void IdentityKeeper::Note(Attempts& attempts) {
  attempts.last = clock_.Monotonic();
  attempts.draw = static_cast<double>(random_()) / static_cast<double>(std::minstd_rand::max());
}

void IdentityKeeper::Failed(Attempts& attempts, const std::string& what, const absl::Status& status) {
  std::error_code ignored;
  // A key or a request that is none: the next attempt makes another one.
  if (ExitCodeOf(status) == ExitCode::kBadInputFile) std::filesystem::remove_all(NextIdentityFolder(folder_), ignored);
  const std::string message = Message(status);
  if (status.code() == absl::StatusCode::kCancelled || message == attempts.said) return;
  LogWarning(what + " (" + message + "); the present identity is kept, and it is tried again once an hour");
  attempts.said = message;
}

absl::StatusOr<SiteIdentity> IdentityKeeper::Begin() {
  absl::StatusOr<SiteIdentity> identity = LoadIdentity(folder_);
  if (identity.ok()) {
    if (std::optional<SiteIdentity> anew = EnrolAnew(*identity)) return *std::move(anew);
    return identity;
  }
  if (identity.status().code() != absl::StatusCode::kNotFound) return identity;
  if (token_.status().code() == absl::StatusCode::kNotFound) {
    return ConfigurationError("the site is not enrolled yet: federation.token_file must name a file with its token");
  }
  if (!token_.ok()) return token_.status();
  FEDGLM_ASSIGN_OR_RETURN(identity, EnrolSite(*token_, site_, folder_));
  LogInfo("enrolled as " + identity->site_id + " at " + token_->address + ProxyInWords(token_->address));
  return identity;
}

void IdentityKeeper::LookAgain() {
  enrolment_ = renewal_ = {};
  warned_.reset();
  if (token_file_.empty()) return;
  const absl::StatusOr<std::string> text = ReadFile(token_file_, kMaxToken);
  if (text.ok()) {
    SetToken(*text);
  } else if (text.status().code() != absl::StatusCode::kNotFound) {
    LogWarning(
        Message(text.status()) +
        "; a running node reads its token only from the file that was there when it was started: start it again");
  }
}

std::optional<SiteIdentity> IdentityKeeper::EnrolAnew(const SiteIdentity& present) {
  if (!token_.ok()) {
    if (token_.status().code() != absl::StatusCode::kNotFound && enrolment_.said.empty()) {
      enrolment_.said = Message(token_.status());
      LogWarning(token_file_.string() + ": " + enrolment_.said + "; the present identity is kept");
    }
    return std::nullopt;
  }
  TokenFacts facts = {present.token_sha256, token_->sha256};
  if (const auto certificate = DescribeCertificate(present.certificate_pem); certificate.ok()) {
    facts.expired = certificate->not_after <= clock_.Now();
  }
  facts.other_authority = NamesAnotherAuthority(*token_, present);
  if (!EnrolsAnew(facts) || !TriesAgain(Since(enrolment_.last), enrolment_.draw)) return std::nullopt;
  Note(enrolment_);
  absl::StatusOr<SiteIdentity> anew = EnrolSiteAnew(*token_, site_, folder_);
  if (!anew.ok()) {
    Failed(enrolment_, "the new token in " + token_file_.string() + " gave no identity", anew.status());
    return std::nullopt;
  }
  LogInfo("enrolled anew as " + anew->site_id + " at " + token_->address + ProxyInWords(token_->address));
  enrolment_ = renewal_ = {};
  return *std::move(anew);
}

std::optional<SiteIdentity> IdentityKeeper::Renew(const SiteIdentity& present, FederationClient& aggregator) {
  const absl::StatusOr<CertificateFacts> facts = DescribeCertificate(present.certificate_pem);
  if (!facts.ok()) return std::nullopt;
  const Validity validity = {facts->not_before, facts->not_after};
  if (!RenewsNow(validity, clock_.Now(), Since(renewal_.last), renewal_.draw)) return std::nullopt;
  Note(renewal_);  // also of one that works: with two clocks that differ the next certificate may be due at once
  absl::StatusOr<SiteIdentity> renewed = AskForNext(present, aggregator);
  if (!renewed.ok()) {
    Failed(renewal_, "the site's certificate, which ends on " + FormatUtc(facts->not_after) + ", is not renewed",
           renewed.status());
    return std::nullopt;
  }
  renewal_.said.clear();
  if (const auto next = DescribeCertificate(renewed->certificate_pem); next.ok()) {
    LogInfo("the site's certificate is renewed: the next one ends on " + FormatUtc(next->not_after));
  }
  return *std::move(renewed);
}

absl::StatusOr<SiteIdentity> IdentityKeeper::AskForNext(const SiteIdentity& present, FederationClient& aggregator) {
  const std::filesystem::path next = NextIdentityFolder(folder_);
  SiteIdentity renewed = present;
  FEDGLM_ASSIGN_OR_RETURN(renewed.key_pem, LoadOrMakeSiteKey(next));
  FEDGLM_ASSIGN_OR_RETURN(const std::string request, LoadOrMakeRequest(next, renewed.key_pem, present.site_id));
  FEDGLM_ASSIGN_OR_RETURN(renewed.certificate_pem, aggregator.RenewCertificate(request));
  const absl::Status usable = CheckUsable(renewed, clock_.Now());
  if (!usable.ok()) {
    std::error_code ignored;
    std::filesystem::remove_all(next, ignored);  // the same request would give the same answer
    return Annotate(usable, "the aggregator's answer");
  }
  FEDGLM_RETURN_IF_ERROR(ExchangeIdentity(renewed, folder_));
  return renewed;
}

void IdentityKeeper::WarnOfExpiry(const SiteIdentity& present) {
  const absl::StatusOr<CertificateFacts> facts = DescribeCertificate(present.certificate_pem);
  if (!facts.ok() || !WarnsOfExpiry({facts->not_before, facts->not_after}, clock_.Now(), Since(warned_))) return;
  warned_ = clock_.Monotonic();
  const auto days = std::chrono::duration_cast<std::chrono::hours>(facts->not_after - clock_.Now()).count() / 24;
  LogWarning("the site's certificate ends in " + std::to_string(days) + " days, on " + FormatUtc(facts->not_after) +
             ", and could not be renewed so far; a new token brings the site back afterwards");
}

}  // namespace fedglm
