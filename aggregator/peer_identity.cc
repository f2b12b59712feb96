#include "aggregator/peer_identity.h"

#include <grpc/grpc_security_constants.h>

#include "base/tls.h"

namespace fedglm {
namespace {

std::string Property(const grpc::ServerContext& context, const char* name) {
  const auto authentication = context.auth_context();
  if (authentication == nullptr || !authentication->IsPeerAuthenticated()) return "";
  const std::vector<grpc::string_ref> values = authentication->FindPropertyValues(name);
  return values.empty() ? "" : std::string(values.front().data(), values.front().size());
}

// The facts of the certificate of this connection. The handshake used the system's clock, and so does this.
absl::StatusOr<CertificateFacts> ShownCertificate(const grpc::ServerContext& context) {
  absl::StatusOr<CertificateFacts> shown =
      DescribeCertificate(CertificatePem(Property(context, GRPC_X509_PEM_CERT_PROPERTY_NAME)));
  if (!shown.ok()) return RefusedError("this needs a certificate");
  if (shown->not_after < std::chrono::system_clock::now()) return RefusedError("the certificate has expired");
  return shown;
}

}  // namespace

absl::StatusOr<NodeRow> CallingSite(const grpc::ServerContext& context, Store& store) {
  const std::string name = Property(context, GRPC_X509_CN_PROPERTY_NAME);
  FEDGLM_ASSIGN_OR_RETURN(const std::optional<NodeRow> node, store.FindNode(name));
  if (!node) return RefusedError("this certificate belongs to no enrolled site");
  if (node->revoked) return RefusedError("site " + name + " was revoked");
  FEDGLM_ASSIGN_OR_RETURN(const CertificateFacts shown, ShownCertificate(context));
  if (shown.serial_hex != node->serial) return RefusedError("site " + name + " has a newer certificate");
  return *node;
}

absl::StatusOr<std::string> CallingAdministrator(const grpc::ServerContext& context) {
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
