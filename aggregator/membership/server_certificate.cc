#include "aggregator/membership/server_certificate.h"

#include "base/log.h"
#include "base/tls.h"

namespace fedglm {
namespace {

constexpr auto kBetweenAttempts = std::chrono::minutes(1);

}  // namespace

// A clock that was ahead and is set back leaves one that nobody takes yet.
bool ServerCertificate::IsDue() const {
  return shown_ == nullptr || anew_ || clock_.Now() >= renewal_ || clock_.Now() < made_;
}

absl::StatusOr<std::shared_ptr<const ServerCertificate::Shown>> ServerCertificate::Make() {
  auto made = std::make_shared<Shown>();
  FEDGLM_ASSIGN_OR_RETURN(made->identity, authority_.IssueServer(host_names_));
  FEDGLM_ASSIGN_OR_RETURN(const CertificateFacts facts, DescribeCertificate(made->identity.certificate_pem));
  made->not_after = facts.not_after;
  made->version = ++version_;
  if (shown_ != nullptr) {
    LogInfo("the aggregator shows another certificate from now on: it ends on " + FormatUtc(facts.not_after));
  }
  made_ = facts.not_before;
  renewal_ = facts.not_before + (facts.not_after - facts.not_before) / 3 * 2;
  anew_ = false;
  return made;
}

absl::StatusOr<std::shared_ptr<const ServerCertificate::Shown>> ServerCertificate::ForHandshake() {
  MutexLock lock(mutex_);
  if (!IsDue() || (shown_ != nullptr && clock_.Monotonic() < not_before_)) return shown_;
  absl::StatusOr<std::shared_ptr<const Shown>> made = Make();
  if (made.ok()) {
    shown_ = *made;
  } else if (shown_ == nullptr) {
    return made.status();
  } else {
    not_before_ = clock_.Monotonic() + kBetweenAttempts;
    LogWarning("the aggregator's certificate, which ends on " + FormatUtc(shown_->not_after) +
               ", could not be made anew (" + Message(made.status()) + "); it is tried again");
  }
  return shown_;
}

void ServerCertificate::MakeAnew() {
  MutexLock lock(mutex_);
  anew_ = true;
  not_before_ = {};
}

}  // namespace fedglm
