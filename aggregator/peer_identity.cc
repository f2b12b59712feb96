#include "aggregator/peer_identity.h"

#include <grpc/grpc_security_constants.h>

#include <optional>
#include <unordered_map>

#include "aggregator/membership/renewal.h"
#include "base/clock.h"
#include "base/thread_annotations.h"
#include "base/tls.h"

namespace fedglm {
namespace {

std::string Property(const grpc::ServerContextBase& context, const char* name) {
  const auto authentication = context.auth_context();
  if (authentication == nullptr || !authentication->IsPeerAuthenticated()) return "";
  const std::vector<grpc::string_ref> values = authentication->FindPropertyValues(name);
  return values.empty() ? "" : std::string(values.front().data(), values.front().size());
}

// What certificates say, by their text: to parse one costs as much as the rest of a call, and each call shows one.
class ParsedCertificates {
 public:
  absl::StatusOr<CertificateFacts> Describe(const std::string& pem) {
    {
      MutexLock lock(mutex_);
      if (const auto known = known_.find(pem); known != known_.end()) return known->second;
    }
    FEDGLM_ASSIGN_OR_RETURN(CertificateFacts facts, DescribeCertificate(CertificatePem(pem)));
    MutexLock lock(mutex_);
    if (known_.size() >= kMost) known_.clear();
    return known_.emplace(pem, std::move(facts)).first->second;
  }

 private:
  static constexpr size_t kMost = 20000;
  Mutex mutex_;
  std::unordered_map<std::string, CertificateFacts> known_ ABSL_GUARDED_BY(mutex_);
};

// The facts of the certificate of this connection. The handshake used the system's clock, and so does this.
absl::StatusOr<CertificateFacts> ShownCertificate(const grpc::ServerContextBase& context) {
  static ParsedCertificates parsed;
  absl::StatusOr<CertificateFacts> shown = parsed.Describe(Property(context, GRPC_X509_PEM_CERT_PROPERTY_NAME));
  if (!shown.ok()) return RefusedError("this needs a certificate");
  if (shown->not_after < std::chrono::system_clock::now()) return RefusedError("the certificate has expired");
  return shown;
}

absl::Status CheckMember(const Caller& caller, const std::optional<NodeRow>& node) {
  if (!node) return RefusedError("this certificate belongs to no enrolled site");
  if (node->revoked) return RefusedError("site " + caller.site_id + " was revoked");
  if (caller.not_after < std::chrono::system_clock::now()) return RefusedError("the certificate has expired");
  if (WhichCertificate(*node, caller.serial) == MemberCertificate::kOther) {
    return RefusedError("site " + caller.site_id + " has a newer certificate");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckMember(const Caller& caller, const Store& store) {
  return CheckMember(caller, store.FindNode(caller.site_id));
}

absl::StatusOr<Caller> CallingSite(const grpc::ServerContextBase& context, Store& store) {
  FEDGLM_ASSIGN_OR_RETURN(const CertificateFacts shown, ShownCertificate(context));
  Caller caller = {Property(context, GRPC_X509_CN_PROPERTY_NAME), shown.serial_hex, shown.not_after};
  const std::optional<NodeRow> node = store.FindNode(caller.site_id);
  FEDGLM_RETURN_IF_ERROR(CheckMember(caller, node));
  FEDGLM_RETURN_IF_ERROR(
      AcceptCertificate(store, *node, caller.serial, UnixMilliseconds(std::chrono::system_clock::now())));
  return caller;
}

absl::StatusOr<std::string> CallingAdministrator(const grpc::ServerContextBase& context) {
  const std::string name = Property(context, GRPC_X509_CN_PROPERTY_NAME);
  // A site's name has no colon: enrolment sees to it.
  if (name.rfind("admin:", 0) != 0) return RefusedError("this needs an administrator's certificate");
  FEDGLM_RETURN_IF_ERROR(ShownCertificate(context).status());
  return name;
}

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), Message(status));
}

}  // namespace fedglm
