// The Administration service as an administrator sees it.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/status.h"
#include "fedglm/v1/administration.grpc.pb.h"

namespace fedglm {

// Errors: Refused, Unreachable, or the aggregator's own. Thread-safe.
class AdministrationClient {
 public:
  // `folder`: ca.pem, key.pem and cert.pem of an administrator, as the aggregator makes them in its state_dir/admin.
  // `address` empty: the one in addresses.json beside the folder.
  static absl::StatusOr<std::unique_ptr<AdministrationClient>> Open(const std::filesystem::path& folder,
                                                                    std::string address);

  absl::StatusOr<v1::FederationStatus> Status();
  // All rounds after this one, however many pages they are.
  absl::StatusOr<v1::ListRoundsResponse> Rounds(int64_t after_round = 0);
  absl::StatusOr<v1::ListNodesResponse> Nodes();
  absl::StatusOr<std::string> CreateToken(const std::string& site_name, std::chrono::seconds lifetime);
  absl::Status Revoke(const std::string& site_id, const std::string& reason);
  absl::Status RollBack(int64_t round, const std::string& reason);
  // The oldest entries after this one, at most `limit`, or the newest.
  absl::StatusOr<v1::ListAuditResponse> Audit(int64_t after_id, int64_t limit, bool newest);

 private:
  AdministrationClient(std::string address, std::unique_ptr<v1::Administration::Stub> stub)
      : address_(std::move(address)), stub_(std::move(stub)) {}
  // One call: method(context, request, response).
  template <typename Response, typename Method, typename Request>
  absl::StatusOr<Response> Ask(Method method, const Request& request);

  const std::string address_;
  const std::unique_ptr<v1::Administration::Stub> stub_;
};

}  // namespace fedglm
