#include "client/dialling/grpc_status.h"

#include "base/utf8.h"

namespace fedglm {
namespace {

constexpr size_t kLongestReason = 500;

// gRPC has no code for it: BoringSSL's and OpenSSL's words are in its message.
bool IsHandshakeFailure(const std::string& message) {
  for (const char* words : {"Ssl handshake failed", "CERTIFICATE_VERIFY_FAILED", "certificate verify failed",
                            "Peer name", "Handshake failed"}) {
    if (message.find(words) != std::string::npos) return true;
  }
  return false;
}

// What answers is no TLS at all, which TLS takes for a version of itself.
bool IsPlainText(const std::string& message) {
  return message.find("wrong version number") != std::string::npos ||
         message.find("WRONG_VERSION_NUMBER") != std::string::npos;
}

}  // namespace

absl::Status FromGrpc(const grpc::Status& status, const std::string& address) {
  if (status.ok()) return absl::OkStatus();
  const std::string message =
      address + ": " +
      (status.error_message().empty() ? "no reason given" : OneLine(status.error_message(), kLongestReason));
  switch (status.error_code()) {
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::UNAUTHENTICATED:
      return RefusedError(message);
    case grpc::StatusCode::UNAVAILABLE:
      if (IsPlainText(status.error_message())) {
        return RefusedError(address + ": what answers there does not speak TLS: another service, or a captive portal");
      }
      // One side does not trust the other's certificate: to try again would not help.
      if (IsHandshakeFailure(status.error_message())) {
        return RefusedError(
            address +
            ": the TLS handshake failed: a certificate is foreign, expired, or for another host; if the "
            "federation has another certificate authority by now, a new token brings this site back");
      }
      return UnreachableError(message);
    case grpc::StatusCode::DEADLINE_EXCEEDED:
    case grpc::StatusCode::RESOURCE_EXHAUSTED:  // calls that broke are not yet noticed there
      return UnreachableError(message);
    case grpc::StatusCode::CANCELLED:
      return CancelledError(message);
    default:
      return FailedError(message);
  }
}

}  // namespace fedglm
