// The Administration service as an administrator sees it.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/pem.h"
#include "base/status.h"
#include "client/dialling/dial.h"
#include "fedglm/v1/administration.grpc.pb.h"

namespace fedglm {

// Errors: Refused, Unreachable, or the aggregator's own. Thread-safe but for Redial.
class AdministrationClient {
 public:
  // `folder`: ca.pem, key.pem and cert.pem of an administrator, as the aggregator makes them in its state_dir/admin.
  // `address` empty: the one in addresses.json beside the folder.
  static absl::StatusOr<std::unique_ptr<AdministrationClient>> Open(const std::filesystem::path& folder,
                                                                    std::string address);

  // The next call connects anew. After an error a channel goes on connecting by itself, but of a program that only asks
  // now and then it may take a minute to see that the aggregator is back. Beside no other call.
  void Redial();

  absl::StatusOr<v1::FederationStatus> Status();
  // All rounds after this one, however many pages they are.
  absl::StatusOr<v1::ListRoundsResponse> Rounds(int64_t after_round = 0);
  absl::StatusOr<v1::ListNodesResponse> Nodes();
  absl::StatusOr<std::string> CreateToken(const std::string& site_name, std::chrono::seconds lifetime);
  absl::Status Revoke(const std::string& site_id, const std::string& reason);
  absl::Status RollBack(int64_t round, const std::string& reason);
  absl::Status GiveOrder(v1::GiveOrderRequest::Order order, const std::string& site_id, const std::string& reason);
  // The oldest entries after this one, at most `limit`, or the newest.
  absl::StatusOr<v1::ListAuditResponse> Audit(int64_t after_id, int64_t limit, bool newest);
  // What each site reported of this round, or of all rounds, however many pages they are.
  absl::StatusOr<v1::ListLossesResponse> Losses(std::optional<int64_t> round);

  struct ExportedAdapter {
    int64_t round = 0;
    std::string sha256;
    std::string bytes;  // for ParseAdapter, and of that digest
  };
  // The adapter of a round that is done (0: what round 1 starts from), or the latest one. Refused if its bytes are not
  // of the digest that the aggregator names. `cancelled` is asked with every chunk.
  absl::StatusOr<ExportedAdapter> ExportAdapter(std::optional<int64_t> round, const std::function<bool()>& cancelled);

 private:
  AdministrationClient(std::string address, Trust trust);
  // One call: method(context, request, response).
  template <typename Response, typename Method, typename Request>
  absl::StatusOr<Response> Ask(Method method, const Request& request);

  const std::string address_;
  const Trust trust_;
  std::unique_ptr<v1::Administration::Stub> stub_;
};

}  // namespace fedglm
