#include "client/administration_client.h"

#include <algorithm>

#include "base/digest.h"
#include "base/file.h"
#include "base/json.h"
#include "base/pem.h"
#include "client/dialling/grpc_status.h"

namespace fedglm {
namespace {

constexpr auto kTimeout = std::chrono::seconds(10);
constexpr auto kTransferTimeout = std::chrono::hours(12);
constexpr uint64_t kMostAdapterBytes = uint64_t{1} << 34;
// An aggregator's page of the audit log is half of it.
constexpr int kMostMessageBytes = 16 << 20;

absl::StatusOr<std::string> AddressBeside(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder.lexically_normal().parent_path() / "addresses.json";
  const absl::StatusOr<std::string> text = ReadFile(file, 1 << 16);
  if (!text.ok()) return UsageError("give --address: there is no " + file.string());
  FEDGLM_ASSIGN_OR_RETURN(const Json json, ParseJson(*text, file.string()));
  return RequireString(json, "federation");
}

}  // namespace

absl::StatusOr<std::unique_ptr<AdministrationClient>> AdministrationClient::Open(const std::filesystem::path& folder,
                                                                                 std::string address) {
  FEDGLM_ASSIGN_OR_RETURN(const CaCertificatePem ca, ReadPem<CaCertificatePem>(folder / "ca.pem"));
  FEDGLM_ASSIGN_OR_RETURN(const TlsKeyPem key, ReadPem<TlsKeyPem>(folder / "key.pem"));
  FEDGLM_ASSIGN_OR_RETURN(const CertificatePem certificate, ReadPem<CertificatePem>(folder / "cert.pem"));
  if (address.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(address, AddressBeside(folder.has_filename() ? folder : folder.parent_path()));
  }
  return std::unique_ptr<AdministrationClient>(new AdministrationClient(std::move(address), {ca, key, certificate}));
}

AdministrationClient::AdministrationClient(std::string address, Trust trust)
    : address_(std::move(address)), trust_(std::move(trust)) {
  Redial();
}

void AdministrationClient::Redial() {
  stub_ = v1::Administration::NewStub(Dial(address_, trust_, {}, kMostMessageBytes));
}

template <typename Response, typename Method, typename Request>
absl::StatusOr<Response> AdministrationClient::Ask(Method method, const Request& request) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kTimeout);
  Response response;
  FEDGLM_RETURN_IF_ERROR(FromGrpc((stub_.get()->*method)(&context, request, &response), address_));
  return response;
}

absl::StatusOr<v1::FederationStatus> AdministrationClient::Status() {
  return Ask<v1::FederationStatus>(&v1::Administration::Stub::GetStatus, v1::GetStatusRequest());
}

absl::StatusOr<v1::ListRoundsResponse> AdministrationClient::Rounds(int64_t after_round) {
  v1::ListRoundsRequest request;
  request.set_after_round(after_round);
  v1::ListRoundsResponse all;
  while (true) {
    FEDGLM_ASSIGN_OR_RETURN(const v1::ListRoundsResponse page,
                            Ask<v1::ListRoundsResponse>(&v1::Administration::Stub::ListRounds, request));
    all.mutable_rounds()->MergeFrom(page.rounds());
    // A token that does not move on would be asked for for ever.
    if (page.next_page_token().empty() || page.next_page_token() == request.page_token()) return all;
    request.set_page_token(page.next_page_token());
  }
}

absl::StatusOr<v1::ListNodesResponse> AdministrationClient::Nodes() {
  return Ask<v1::ListNodesResponse>(&v1::Administration::Stub::ListNodes, v1::ListNodesRequest());
}

absl::StatusOr<std::string> AdministrationClient::CreateToken(const std::string& site_name,
                                                              std::chrono::seconds lifetime) {
  v1::CreateTokenRequest request;
  request.set_site_name(site_name);
  request.set_lifetime_seconds(lifetime.count());
  FEDGLM_ASSIGN_OR_RETURN(const v1::CreateTokenResponse response,
                          Ask<v1::CreateTokenResponse>(&v1::Administration::Stub::CreateToken, request));
  return response.token();
}

absl::Status AdministrationClient::Revoke(const std::string& site_id, const std::string& reason) {
  v1::RevokeNodeRequest request;
  request.set_site_id(site_id);
  request.set_reason(reason);
  return Ask<v1::RevokeNodeResponse>(&v1::Administration::Stub::RevokeNode, request).status();
}

absl::Status AdministrationClient::RollBack(int64_t round, const std::string& reason) {
  v1::RollBackRequest request;
  request.set_round(round);
  request.set_reason(reason);
  return Ask<v1::RollBackResponse>(&v1::Administration::Stub::RollBack, request).status();
}

absl::Status AdministrationClient::GiveOrder(v1::GiveOrderRequest::Order order, const std::string& site_id,
                                             const std::string& reason) {
  v1::GiveOrderRequest request;
  request.set_order(order);
  request.set_site_id(site_id);
  request.set_reason(reason);
  return Ask<v1::GiveOrderResponse>(&v1::Administration::Stub::GiveOrder, request).status();
}

absl::StatusOr<v1::ListAuditResponse> AdministrationClient::Audit(int64_t after_id, int64_t limit, bool newest) {
  v1::ListAuditRequest request;
  request.set_after_id(after_id);
  request.set_limit(limit);
  request.set_newest(newest);
  return Ask<v1::ListAuditResponse>(&v1::Administration::Stub::ListAudit, request);
}

absl::StatusOr<v1::ListLossesResponse> AdministrationClient::Losses(std::optional<int64_t> round) {
  v1::ListLossesRequest request;
  if (round) request.set_round(*round);
  v1::ListLossesResponse all;
  while (true) {
    FEDGLM_ASSIGN_OR_RETURN(const v1::ListLossesResponse page,
                            Ask<v1::ListLossesResponse>(&v1::Administration::Stub::ListLosses, request));
    all.mutable_losses()->MergeFrom(page.losses());
    if (page.next_page_token().empty() || page.next_page_token() == request.page_token()) return all;
    request.set_page_token(page.next_page_token());
  }
}

absl::StatusOr<AdministrationClient::ExportedAdapter> AdministrationClient::ExportAdapter(
    std::optional<int64_t> round, const std::function<bool()>& cancelled) {
  v1::ExportAdapterRequest request;
  if (round) request.set_round(*round);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kTransferTimeout);
  const auto reader = stub_->ExportAdapter(&context, request);
  ExportedAdapter adapter;
  uint64_t bytes = 0;
  absl::Status broken;
  for (v1::ExportAdapterChunk chunk; broken.ok() && reader->Read(&chunk);) {
    if (chunk.has_header()) {
      const v1::ExportAdapterHeader& header = chunk.header();
      adapter.round = header.round();
      adapter.sha256 = header.sha256();
      bytes = std::min(header.bytes(), kMostAdapterBytes);
    }
    adapter.bytes += chunk.data();
    if (adapter.bytes.size() > bytes) broken = RefusedError(address_ + ": the adapter has more bytes than it should");
    if (cancelled()) broken = CancelledError("stopped");
  }
  if (!broken.ok()) context.TryCancel();
  const absl::Status finished = FromGrpc(reader->Finish(), address_);
  FEDGLM_RETURN_IF_ERROR(broken.ok() ? finished : broken);
  if (Sha256Hex(adapter.bytes) != adapter.sha256) {
    return RefusedError(address_ + ": the adapter's bytes are not those of its digest " + adapter.sha256.substr(0, 12));
  }
  return adapter;
}

}  // namespace fedglm
