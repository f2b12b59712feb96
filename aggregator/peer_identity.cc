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

}  // namespace

absl::StatusOr<NodeRow> CallingSite(const grpc::ServerContext& context, Store& store) {
  const std::string name = Property(context, GRPC_X509_CN_PROPERTY_NAME);
  FEDGLM_ASSIGN_OR_RETURN(const std::optional<NodeRow> node, store.FindNode(name));
  if (!node) return RefusedError("this certificate belongs to no enrolled site");
  if (node->revoked) return RefusedError("site " + name + " was revoked");
  const absl::StatusOr<CertificateFacts> shown = DescribeCertificate(Property(context, GRPC_X509_PEM_CERT_PROPERTY_NAME));
  if (!shown.ok() || shown->serial_hex != node->serial) return RefusedError("site " + name + " has a newer certificate");
  return *node;
}

absl::StatusOr<std::string> CallingAdministrator(const grpc::ServerContext& context) {
  const std::string name = Property(context, GRPC_X509_CN_PROPERTY_NAME);
  // A site's name has no colon: enrolment sees to it.
  if (name.rfind("admin:", 0) != 0) return RefusedError("this needs an administrator's certificate");
  return name;
}

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), Message(status));
}

}  // namespace fedglm
