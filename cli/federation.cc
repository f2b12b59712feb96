// fedglm federation: administers a running aggregator.
#include <cstdio>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/configuration.h"
#include "base/json.h"
#include "cli/command.h"
#include "cli/federation/audit_verification.h"
#include "cli/federation/commands.h"
#include "cli/federation/output.h"
#include "client/administration_client.h"

namespace fedglm::cli {
namespace {

struct FederationOptions {
  std::string admin, address, site, reason, order;
  int64_t hours = 24, limit = 100, after = 0, round = 0;
  bool json = false;
  AuditVerification verification;
};

std::string TimeLeft(int64_t unix_ms) {
  const int64_t seconds = (unix_ms - UnixMilliseconds(Clock::System().Now())) / 1000;
  if (seconds < 0) return "past";
  if (seconds < 120) return std::to_string(seconds) + " s left";
  return seconds < 7200 ? std::to_string(seconds / 60) + " min left" : std::to_string(seconds / 3600) + " h left";
}

// When anything was last heard of a site: what tells one that is gone from one that waits or trains.
std::string Ago(int64_t seconds_ago) {
  if (seconds_ago < 0) return "-";
  return seconds_ago < 120 ? std::to_string(seconds_ago) + " s ago" : std::to_string(seconds_ago / 60) + " min ago";
}

using Client = std::unique_ptr<AdministrationClient>;

absl::Status ShowStatus(const FederationOptions& options, const Client& client) {
  FEDGLM_ASSIGN_OR_RETURN(const v1::FederationStatus status, client->Status());
  if (options.json) {
    Print({{"version", 1},
           {"federation", status.federation()},
           {"state", status.state()},
           {"round", status.round()},
           {"rounds", status.rounds()},
           {"mode", status.mode()},
           {"nodes_enrolled", status.nodes_enrolled()},
           {"updates_received", status.updates_received()},
           {"updates_expected", status.updates_expected()},
           {"min_sites", status.min_sites()},
           {"sites_present", status.sites_present()},
           {"missing", std::vector<std::string>(status.missing().begin(), status.missing().end())},
           {"deadline_unix_ms", status.deadline_unix_ms()},
           {"base_sha256", status.base_sha256()},
           {"adapter_sha256", status.adapter_sha256()}});
    return absl::OkStatus();
  }
  std::printf(
      "federation  %s (%s)\nstate       %s\nround       %lld of %lld\nupdates     %lld of %lld\nnodes       %lld\nbase "
      "       %s\nadapter     %s\n",
      status.federation().c_str(), status.mode().c_str(), status.state().c_str(),
      static_cast<long long>(status.round()), static_cast<long long>(status.rounds()),
      static_cast<long long>(status.updates_received()), static_cast<long long>(status.updates_expected()),
      static_cast<long long>(status.nodes_enrolled()), status.base_sha256().c_str(), status.adapter_sha256().c_str());
  std::printf("present     %lld sites, a round begins with %lld\n", static_cast<long long>(status.sites_present()),
              static_cast<long long>(status.min_sites()));
  if (status.deadline_unix_ms() > 0) {
    std::printf("missing     %s\ndeadline    %s, %s\n", Joined(status.missing()).c_str(),
                Time(status.deadline_unix_ms()).c_str(), TimeLeft(status.deadline_unix_ms()).c_str());
  }
  return absl::OkStatus();
}

absl::Status ShowRounds(const FederationOptions& options, const Client& client) {
  FEDGLM_ASSIGN_OR_RETURN(const v1::ListRoundsResponse rounds, client->Rounds(options.after));
  Json list = Json::array();
  if (!options.json) {
    std::printf("%5s %-5s %6s %8s %7s %8s %12s %10s %10s %9s  %s\n", "round", "state", "cohort", "accepted", "refused",
                "examples", "bytes", "train loss", "held-out", "truncated", "adapter");
  }
  for (const v1::RoundSummary& r : rounds.rounds()) {
    if (options.json) {
      list.push_back({{"round", r.round()},
                      {"state", r.state()},
                      {"cohort", r.cohort()},
                      {"accepted", r.accepted()},
                      {"refused", r.refused()},
                      {"examples", r.examples()},
                      {"bytes_received", r.bytes_received()},
                      {"mean_training_loss", r.mean_training_loss()},
                      {"mean_evaluation_loss", r.mean_evaluation_loss()},
                      {"evaluations", r.evaluations()},
                      {"truncation_error", r.truncation_error()},
                      {"started_unix_ms", r.started_unix_ms()},
                      {"ended_unix_ms", r.ended_unix_ms()},
                      {"adapter_sha256", r.adapter_sha256()}});
      continue;
    }
    std::printf("%5lld %-5s %6lld %8lld %7lld %8lld %12s %10.4f %10.4f %8.2f%%  %s\n",
                static_cast<long long>(r.round()), r.state().c_str(), static_cast<long long>(r.cohort()),
                static_cast<long long>(r.accepted()), static_cast<long long>(r.refused()),
                static_cast<long long>(r.examples()), FormatByteSize(r.bytes_received()).c_str(),
                r.mean_training_loss(), r.mean_evaluation_loss(), 100 * r.truncation_error(),
                Short(r.adapter_sha256()).c_str());
  }
  if (options.json) Print({{"version", 1}, {"rounds", list}});
  return absl::OkStatus();
}

absl::Status ShowNodes(const FederationOptions& options, const Client& client) {
  FEDGLM_ASSIGN_OR_RETURN(const v1::ListNodesResponse nodes, client->Nodes());
  Json list = Json::array();
  if (!options.json) {
    std::printf("%-24s %-9s %8s %6s %12s %-12s %-10s %-9s %-20s  %s\n", "site", "state", "records", "round", "bytes",
                "heard of", "held back", "version", "certificate ends", "doing");
  }
  for (const v1::NodeSummary& n : nodes.nodes()) {
    if (options.json) {
      list.push_back({{"site_id", n.site_id()},
                      {"state", n.state()},
                      {"training_records", n.training_records()},
                      {"installed_round", n.installed_round()},
                      {"bytes_received", n.bytes_received()},
                      {"last_seen_unix_ms", n.last_seen_unix_ms()},
                      {"asked_seconds_ago", n.asked_seconds_ago()},
                      {"heard_seconds_ago", n.heard_seconds_ago()},
                      {"doing", n.doing()},
                      {"setback", n.setback()},
                      {"declines", n.declines()},
                      {"node_version", n.version()},
                      {"certificate_serial", n.certificate_serial()},
                      {"certificate_ends_unix_ms", n.certificate_ends_unix_ms()}});
      continue;
    }
    std::printf("%-24s %-9s %8lld %6lld %12s %-12s %-10s %-9s %-20s  %s\n", n.site_id().c_str(), n.state().c_str(),
                static_cast<long long>(n.training_records()), static_cast<long long>(n.installed_round()),
                FormatByteSize(n.bytes_received()).c_str(), Ago(n.heard_seconds_ago()).c_str(),
                n.setback().empty() ? "-" : n.setback().c_str(), n.version().empty() ? "-" : n.version().c_str(),
                Time(n.certificate_ends_unix_ms()).c_str(), n.doing().c_str());
  }
  if (options.json) Print({{"version", 1}, {"nodes", list}});
  return absl::OkStatus();
}

absl::Status MakeToken(const FederationOptions& options, const Client& client) {
  FEDGLM_ASSIGN_OR_RETURN(const std::string token,
                          client->CreateToken(options.site, std::chrono::hours(options.hours)));
  if (options.json) {
    Print({{"version", 1}, {"site", options.site}, {"token", token}});
  } else {
    std::printf("%s\n", token.c_str());
  }
  return absl::OkStatus();
}

absl::Status Revoke(const FederationOptions& options, const Client& client) {
  FEDGLM_RETURN_IF_ERROR(client->Revoke(options.site, options.reason));
  std::fprintf(stderr, "site %s is revoked\n", options.site.c_str());
  return absl::OkStatus();
}

absl::Status RollBack(const FederationOptions& options, const Client& client) {
  FEDGLM_RETURN_IF_ERROR(client->RollBack(options.round, options.reason));
  std::fprintf(stderr, "the adapter of round %lld is the latest again\n", static_cast<long long>(options.round));
  return absl::OkStatus();
}

absl::Status OrderRound(const FederationOptions& options, const Client& client) {
  const bool skips = options.order == "skip";
  if (skips == options.site.empty()) return UsageError("`round skip` names a site, the other orders none");
  const auto order = skips                      ? v1::GiveOrderRequest::SKIP
                     : options.order == "close" ? v1::GiveOrderRequest::CLOSE
                                                : v1::GiveOrderRequest::ABORT;
  FEDGLM_RETURN_IF_ERROR(client->GiveOrder(order, options.site, options.reason));
  const char* const done = skips                      ? "the round does not wait for this site"
                           : options.order == "close" ? "the round is closed with the updates that are in"
                                                      : "the round begins again from nothing";
  std::fprintf(stderr, "%s\n", done);
  return absl::OkStatus();
}

absl::Status Pause(const FederationOptions& options, const Client& client) {
  FEDGLM_RETURN_IF_ERROR(client->GiveOrder(v1::GiveOrderRequest::PAUSE, "", options.reason));
  std::fprintf(stderr, "no round is opened until `fedglm federation resume`; one that is open goes on\n");
  return absl::OkStatus();
}

absl::Status Resume(const FederationOptions& options, const Client& client) {
  FEDGLM_RETURN_IF_ERROR(client->GiveOrder(v1::GiveOrderRequest::RESUME, "", options.reason));
  std::fprintf(stderr, "rounds are opened again\n");
  return absl::OkStatus();
}

absl::Status ShowAudit(const FederationOptions& options, const Client& client) {
  if (options.verification.asked) {
    return VerifyAudit(options.verification, SigningKeyOf(options.admin, options.verification.signing_key), *client,
                       options.json);
  }
  FEDGLM_ASSIGN_OR_RETURN(const v1::ListAuditResponse audit,
                          client->Audit(options.after, options.limit, options.after == 0));
  Json list = Json::array();
  for (const v1::AuditEntry& e : audit.entries()) {
    if (options.json) {
      list.push_back({{"id", e.id()},
                      {"unix_ms", e.unix_ms()},
                      {"actor", e.actor()},
                      {"action", e.action()},
                      {"subject", e.subject()},
                      {"detail", e.detail()},
                      {"hash", e.hash()}});
    } else {
      std::printf("%6lld  %s  %-20s %-18s %-20s %s\n", static_cast<long long>(e.id()), Time(e.unix_ms()).c_str(),
                  e.actor().c_str(), e.action().c_str(), e.subject().c_str(), e.detail().c_str());
    }
  }
  if (options.json) Print({{"version", 1}, {"entries", list}});
  return absl::OkStatus();
}

}  // namespace

void AddFederation(CommandLine& line) {
  Command group = line.AddGroup("federation", "administer a running aggregator");
  auto options = std::make_shared<FederationOptions>();
  const auto add = [&](const char* name, const char* description,
                       absl::Status (*show)(const FederationOptions&, const Client&)) {
    Command app = line.AddTo(group, name, description, [options, show]() -> absl::Status {
      FEDGLM_ASSIGN_OR_RETURN(const Client client, AdministrationClient::Open(options->admin, options->address));
      return show(*options, client);
    });
    app.Add("--admin", options->admin, "folder with an administrator's key and certificate: STATE_DIR/admin")
        .Required();
    app.Add("--address", options->address, "HOST:PORT; default: the one in the aggregator's state folder");
    app.AddFlag("--json", options->json);
    return app;
  };
  add("status", "what the federation is doing", ShowStatus);
  Command rounds = add("rounds", "all rounds: who took part, losses, bytes", ShowRounds);
  rounds.Add("--after", options->after, "rounds after this one").ShowDefault();
  add("nodes", "all sites", ShowNodes);
  Command token = add("token", "a one-time token with which a site enrols", MakeToken);
  token.Add("site", options->site, "the site's name").Required();
  token.Add("--hours", options->hours, "how long it is good").ShowDefault().Between(1, 8760);
  Command revoke = add("revoke", "a site takes part no longer, at once", Revoke);
  revoke.Add("site", options->site).Required();
  revoke.Add("--reason", options->reason, "for the audit log");
  Command rollback = add("rollback", "an earlier round's adapter is the latest again, as a new round's", RollBack);
  rollback.Add("round", options->round, "whose adapter; 0: what round 1 started from").Required().Between(0, 1 << 20);
  rollback.Add("--reason", options->reason, "for the audit log");
  Command round = add("round", "the open round: closed now, begun again, or not waiting for a site", OrderRound);
  round.Add("order", options->order, "close, abort or skip").Required().OneOf({"close", "abort", "skip"});
  round.Add("site", options->site, "whose update is not waited for, of skip");
  round.Add("--reason", options->reason, "for the audit log");
  add("pause", "no round is opened", Pause).Add("--reason", options->reason, "for the audit log");
  add("resume", "rounds are opened again", Resume).Add("--reason", options->reason, "for the audit log");
  Command audit = add("audit", "who did what: the newest entries", ShowAudit);
  audit.Add("--after", options->after, "the oldest entries after this id").ShowDefault();
  audit.Add("--limit", options->limit).ShowDefault().Between(1, 10000);
  AddAuditVerification(audit, options->verification);
  AddLosses(line, group);
  AddBest(line, group);
  AddExport(line, group);
  AddWatch(line, group);
}

}  // namespace fedglm::cli
