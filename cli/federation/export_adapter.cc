// fedglm federation export: a round's adapter as a folder in PEFT's layout.
#include <charconv>
#include <optional>

#include "adapter/adapter.h"
#include "base/digest.h"
#include "base/process.h"
#include "base/tls.h"
#include "cli/federation/commands.h"
#include "cli/federation/output.h"

namespace fedglm::cli {
namespace {

struct ExportOptions : AdministrationOptions {
  std::string round, out, signing_key;
};

// No number: the latest.
absl::StatusOr<std::optional<int64_t>> ParseRound(const std::string& text) {
  if (text == "latest") return std::optional<int64_t>();
  int64_t round = -1;
  const char* const end = text.data() + text.size();
  const auto [parsed, error] = std::from_chars(text.data(), end, round);
  if (error == std::errc() && parsed == end && round >= 0) return std::optional<int64_t>(round);
  return UsageError("ROUND is a number, 0 for what round 1 starts from, or latest, not '" + text + "'");
}

// Asked before the transfer.
absl::Status CheckFree(const std::filesystem::path& folder) {
  std::error_code error;
  const bool there = std::filesystem::exists(folder, error);
  if (!error &&
      (!there || (std::filesystem::is_directory(folder, error) && std::filesystem::is_empty(folder, error)))) {
    return absl::OkStatus();
  }
  return FailedError(folder.string() + ": is there already; name a folder that is not, or is empty");
}

// Refused if the adapter is not what the federation's key signed for this round.
absl::Status CheckSignature(const Adapter& adapter, int64_t round, const PublicKeyPem& key) {
  const Provenance& provenance = *adapter.provenance;
  const absl::StatusOr<std::string> signature = Base64UrlDecode(provenance.signature);
  if (!signature.ok() || !VerifySignature(key, SignedBytes(adapter.config, provenance), *signature).ok()) {
    return RefusedError("the adapter's signature is not the aggregator's");
  }
  if (provenance.round != round) {
    return RefusedError("the adapter was signed for round " + std::to_string(provenance.round) + ", not " +
                        std::to_string(round));
  }
  return absl::OkStatus();
}

absl::Status Export(const ExportOptions& options, AdministrationClient& client) {
  FEDGLM_ASSIGN_OR_RETURN(const std::optional<int64_t> round, ParseRound(options.round));
  FEDGLM_RETURN_IF_ERROR(CheckFree(options.out));
  // Another machine's copy of the administrator's folder has no key beside it.
  const std::filesystem::path key_file = SigningKeyOf(options.admin, options.signing_key);
  std::error_code ignored;
  const bool checked = !options.signing_key.empty() || std::filesystem::exists(key_file, ignored);
  PublicKeyPem key;
  if (checked) {
    FEDGLM_ASSIGN_OR_RETURN(key, ReadPem<PublicKeyPem>(key_file));
  }
  FEDGLM_ASSIGN_OR_RETURN(const AdministrationClient::ExportedAdapter exported,
                          client.ExportAdapter(round, StopRequested));
  FEDGLM_ASSIGN_OR_RETURN(const Adapter adapter, ParseAdapter(exported.bytes));
  if (!adapter.provenance || adapter.provenance->weights_sha256 != WeightsSha256(adapter)) {
    return RefusedError("the adapter's weights are not those that it says were signed");
  }
  if (checked) FEDGLM_RETURN_IF_ERROR(CheckSignature(adapter, exported.round, key));
  FEDGLM_RETURN_IF_ERROR(CheckFree(options.out));
  FEDGLM_RETURN_IF_ERROR(SaveAdapter(adapter, options.out));
  if (options.json) {
    Print({{"version", 1},
           {"round", exported.round},
           {"adapter_sha256", exported.sha256},
           {"bytes", exported.bytes.size()},
           {"signature_checked", checked},
           {"folder", options.out}});
    return absl::OkStatus();
  }
  std::fprintf(stderr, "the adapter of round %lld (%s) is in %s, %s\n", static_cast<long long>(exported.round),
               Short(exported.sha256).c_str(), options.out.c_str(),
               checked ? "its signature is good" : "no --signing-key: its signature was not checked");
  return absl::OkStatus();
}

}  // namespace

void AddExport(CommandLine& line, Command group) {
  auto options = std::make_shared<ExportOptions>();
  Command command =
      AddAdministrationCommand(line, group, "export", "write a round's adapter as a folder in PEFT's layout", *options,
                               [options](AdministrationClient& client) { return Export(*options, client); });
  command.Add("round", options->round, "whose adapter; 0: what round 1 starts from; latest").Required();
  command.Add("out", options->out, "folder to write; one with something in it is not overwritten").Required();
  command.Add("--signing-key", options->signing_key,
              "the federation's public signing key; default: signing-public.pem beside --admin, if it is there");
}

}  // namespace fedglm::cli
