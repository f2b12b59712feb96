#include "client/enrolment_client.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <thread>

#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/listen_address.h"
#include "base/process.h"
#include "base/tls.h"
#include "base/utf8.h"
#include "client/dialling/dial.h"
#include "client/dialling/grpc_status.h"
#include "fedglm/v1/enrolment.grpc.pb.h"
#include "proto/site_name.h"

namespace fedglm {
namespace {

constexpr std::string_view kTokenPrefix = "fgt1.";
constexpr auto kTimeout = std::chrono::seconds(20);
constexpr auto kAttempt = std::chrono::seconds(5);  // an end of the program waits for it
constexpr auto kRetry = std::chrono::milliseconds(500);
constexpr size_t kMaxAnswer = 1 << 16;

// What is written down as this site's identity is read at every start: an answer that could not be is refused now, and
// a site that has written nothing can enrol again.
absl::Status CheckAnswer(const v1::EnrolResponse& response, const std::string& site_name, const std::string& address) {
  const auto bad = [&](const std::string& what) { return RefusedError(address + ": its answer has " + what); };
  if (response.ByteSizeLong() > kMaxAnswer) return bad("more bytes than a certificate needs");
  const absl::StatusOr<CertificateFacts> site = DescribeCertificate(CertificatePem(response.certificate_pem()));
  if (!site.ok()) return bad("no certificate for this site");
  if (site->common_name != site_name || response.site_id() != site_name) return bad("a certificate for another site");
  if (!DescribeCertificate(CaCertificatePem(response.ca_certificate_pem())).ok())
    return bad("no certificate authority");
  if (response.signing_public_key_pem().empty()) return bad("no key that adapters are signed with");
  if (response.federation().empty()) return bad("no name of a federation");
  if (!IsDialAddress(response.federation_address())) return bad("no address to dial");
  return absl::OkStatus();
}

// The token and a request for the key of `key_folder` give an identity, which is not written down yet.
absl::StatusOr<SiteIdentity> Exchange(const EnrolmentToken& token, const std::string& site_name,
                                      const std::filesystem::path& key_folder) {
  if (!IsSiteName(site_name))
    return UsageError("'" + site_name + "' is no site name: letters, digits and '-', at most 63");
  SiteIdentity identity;
  FEDGLM_ASSIGN_OR_RETURN(identity.key_pem, LoadOrMakeSiteKey(key_folder));
  FEDGLM_ASSIGN_OR_RETURN(const std::string request_pem, LoadOrMakeRequest(key_folder, identity.key_pem, site_name));

  // The server must show a certificate of the CA that the token names: whoever gave the token vouches for it.
  const auto stub = v1::Enrolment::NewStub(Dial(token.address, {token.ca_pem, {}, {}}));
  v1::EnrolRequest request;
  request.set_token_secret(token.secret);
  request.set_site_name(site_name);
  request.set_certificate_request_pem(request_pem);
  v1::EnrolResponse response;
  // The aggregator may still be starting.
  const auto deadline = std::chrono::system_clock::now() + kTimeout;
  while (true) {
    grpc::ClientContext context;
    context.set_deadline(std::min(deadline, std::chrono::system_clock::now() + kAttempt));
    const absl::Status status = FromGrpc(stub->Enrol(&context, request, &response), token.address);
    if (status.ok()) break;
    if (ExitCodeOf(status) != ExitCode::kUnreachable || std::chrono::system_clock::now() + kRetry > deadline)
      return status;
    if (StopRequested()) return CancelledError("stopped");
    std::this_thread::sleep_for(kRetry);
  }
  FEDGLM_RETURN_IF_ERROR(CheckAnswer(response, site_name, token.address));

  identity.site_id = response.site_id();
  identity.federation = response.federation();
  identity.federation_address = response.federation_address();
  identity.certificate_pem = CertificatePem(response.certificate_pem());
  identity.ca_pem = CaCertificatePem(response.ca_certificate_pem());
  identity.signing_public_pem = PublicKeyPem(response.signing_public_key_pem());
  identity.token_sha256 = token.sha256;
  return identity;
}

}  // namespace

absl::StatusOr<EnrolmentToken> ParseToken(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.remove_suffix(1);
  const absl::Status refused = RefusedError("this is no enrolment token");
  if (text.substr(0, kTokenPrefix.size()) != kTokenPrefix) return refused;
  const absl::StatusOr<std::string> decoded = Base64UrlDecode(text.substr(kTokenPrefix.size()));
  if (!decoded.ok()) return refused;
  const absl::StatusOr<Json> json = ParseJson(*decoded, "token");
  if (!json.ok()) return refused;
  EnrolmentToken token;
  std::string ca;
  for (const auto& [key, member] :
       {std::pair("secret", &token.secret), std::pair("ca", &ca), std::pair("address", &token.address)}) {
    const absl::StatusOr<std::string> value = RequireString(*json, key);
    if (!value.ok()) return refused;
    *member = *value;
  }
  if (!IsDialAddress(token.address))
    return RefusedError("the token names no address to dial: " + OneLine(token.address, 100));
  token.ca_pem = CaCertificatePem(std::move(ca));
  token.sha256 = Sha256Hex(text);
  return token;
}

absl::StatusOr<SiteIdentity> EnrolSite(const EnrolmentToken& token, const std::string& site_name,
                                       const std::filesystem::path& identity_folder) {
  FEDGLM_ASSIGN_OR_RETURN(SiteIdentity identity, Exchange(token, site_name, identity_folder));
  FEDGLM_RETURN_IF_ERROR(SaveIdentity(identity, identity_folder));
  return identity;
}

absl::StatusOr<SiteIdentity> EnrolSiteAnew(const EnrolmentToken& token, const std::string& site_name,
                                           const std::filesystem::path& identity_folder) {
  FEDGLM_ASSIGN_OR_RETURN(SiteIdentity identity, Exchange(token, site_name, NextIdentityFolder(identity_folder)));
  if (const absl::Status usable = CheckUsable(identity, Clock::System().Now()); !usable.ok()) {
    std::error_code ignored;
    std::filesystem::remove_all(NextIdentityFolder(identity_folder), ignored);  // the same again would give the same
    return Annotate(usable, token.address + ": its answer is of no use");
  }
  FEDGLM_RETURN_IF_ERROR(ExchangeIdentity(identity, identity_folder));
  return identity;
}

}  // namespace fedglm
