// fedglm federation losses, best: what the sites' losses say of the rounds.
#include <optional>

#include "cli/federation/commands.h"
#include "cli/federation/output.h"

namespace fedglm::cli {
namespace {

struct LossesOptions : AdministrationOptions {
  std::optional<int64_t> round;
};

std::string Number(bool there, double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.4f", value);
  return there ? text : "-";
}

Json NumberOrNull(bool there, double value) { return there ? Json(value) : Json(nullptr); }

absl::Status ShowLosses(const LossesOptions& options, AdministrationClient& client) {
  FEDGLM_ASSIGN_OR_RETURN(const v1::ListLossesResponse losses, client.Losses(options.round));
  Json list = Json::array();
  if (!options.json) {
    std::printf("%5s %-24s %10s %8s %10s %10s\n", "round", "site", "train loss", "examples", "held-out", "tokens");
  }
  for (const v1::SiteLosses& l : losses.losses()) {
    if (options.json) {
      list.push_back({{"round", l.round()},
                      {"site_id", l.site_id()},
                      {"training_loss", NumberOrNull(l.has_training_loss(), l.training_loss())},
                      {"examples", l.examples()},
                      {"evaluation_loss", NumberOrNull(l.has_evaluation_loss(), l.evaluation_loss())},
                      {"tokens", l.tokens()}});
      continue;
    }
    std::printf("%5lld %-24s %10s %8lld %10s %10lld\n", static_cast<long long>(l.round()), l.site_id().c_str(),
                Number(l.has_training_loss(), l.training_loss()).c_str(), static_cast<long long>(l.examples()),
                Number(l.has_evaluation_loss(), l.evaluation_loss()).c_str(), static_cast<long long>(l.tokens()));
  }
  if (options.json) Print({{"version", 1}, {"losses", list}});
  return absl::OkStatus();
}

Json Describe(const v1::RoundSummary& r) {
  return {{"round", r.round()},
          {"mean_evaluation_loss", NumberOrNull(r.evaluations() > 0, r.mean_evaluation_loss())},
          {"evaluations", r.evaluations()},
          {"adapter_sha256", r.adapter_sha256()}};
}

void PrintRound(const char* name, const v1::RoundSummary& r) {
  std::printf("%-8s round %lld, held-out loss %s (mean of %lld sites' reports), adapter %s\n", name,
              static_cast<long long>(r.round()), Number(r.evaluations() > 0, r.mean_evaluation_loss()).c_str(),
              static_cast<long long>(r.evaluations()), Short(r.adapter_sha256()).c_str());
}

// Of two with the same loss the earlier one.
absl::Status ShowBest(const AdministrationOptions& options, AdministrationClient& client) {
  FEDGLM_ASSIGN_OR_RETURN(const v1::ListRoundsResponse rounds, client.Rounds());
  const v1::RoundSummary* best = nullptr;
  const v1::RoundSummary* latest = nullptr;
  for (const v1::RoundSummary& r : rounds.rounds()) {
    if (r.state() != "done") continue;
    latest = &r;
    if (r.evaluations() == 0) continue;
    if (best == nullptr || r.mean_evaluation_loss() < best->mean_evaluation_loss()) best = &r;
  }
  if (options.json) {
    Print({{"version", 1},
           {"best", best == nullptr ? Json(nullptr) : Describe(*best)},
           {"latest", latest == nullptr ? Json(nullptr) : Describe(*latest)}});
    return absl::OkStatus();
  }
  if (latest == nullptr) {
    std::printf("no round is done yet\n");
    return absl::OkStatus();
  }
  if (best == nullptr) {
    std::printf("no site has reported a held-out loss yet\n");
  } else {
    PrintRound("best", *best);
  }
  PrintRound("latest", *latest);
  if (best != nullptr && best != latest) {
    std::printf("go back  fedglm federation rollback %lld --admin %s\n", static_cast<long long>(best->round()),
                options.admin.c_str());
  }
  return absl::OkStatus();
}

}  // namespace

void AddLosses(CommandLine& line, Command group) {
  auto options = std::make_shared<LossesOptions>();
  Command losses =
      AddAdministrationCommand(line, group, "losses", "what each site reported of each round", *options,
                               [options](AdministrationClient& client) { return ShowLosses(*options, client); });
  losses.Add("--round", options->round, "of this round; 0: of what round 1 starts from; default: all")
      .Between(0, 1 << 20);
}

void AddBest(CommandLine& line, Command group) {
  auto options = std::make_shared<AdministrationOptions>();
  AddAdministrationCommand(line, group, "best", "the round with the lowest held-out loss, and how to go back to it",
                           *options, [options](AdministrationClient& client) { return ShowBest(*options, client); });
}

}  // namespace fedglm::cli
