#include "cli/demo/demo_report.h"

#include <cstdio>

#include "base/configuration.h"
#include "base/json.h"

namespace fedglm::cli {
namespace {

constexpr char kRow[] = "%-18s %8s %10s %9s %10s %10s %9s\n";

std::string Number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.4f", value);
  return text;
}

std::string Row(const std::string& name, const std::string& records, const std::string& bytes,
                const DemoLosses& losses) {
  char text[160];
  std::snprintf(text, sizeof(text), kRow, name.c_str(), records.c_str(), bytes.c_str(), Number(losses.base).c_str(),
                Number(losses.local).c_str(), Number(losses.federated).c_str(), Number(losses.pooled).c_str());
  return text;
}

void AddLosses(Json& json, const DemoLosses& losses) {
  json["loss_base"] = losses.base;
  json["loss_local"] = losses.local;
  json["loss_federated"] = losses.federated;
  json["loss_pooled"] = losses.pooled;
}

}  // namespace

double DemoReport::ClosedDistance() const {
  const double distance = overall.base - overall.pooled;
  return distance > 0 ? (overall.base - overall.federated) / distance : 0;
}

std::string FormatTable(const DemoReport& report) {
  char line[256];
  std::string table = "Held-out loss (lower is better; mean over answer tokens)\n\n";
  std::snprintf(line, sizeof(line), kRow, "site", "records", "sent/round", "base", "site-only", "federated", "pooled");
  table += line;
  int64_t records = 0;
  uint64_t bytes = 0;
  const uint64_t rounds = static_cast<uint64_t>(std::max<int64_t>(1, report.rounds));
  for (const DemoReport::Site& site : report.sites) {
    table += Row(site.name, std::to_string(site.records), FormatByteSize(site.bytes_sent / rounds), site.losses);
    records += site.records;
    bytes += site.bytes_sent;
  }
  table += Row("overall", std::to_string(records), FormatByteSize(bytes / rounds), report.overall);
  table += "\nsite-only, overall: the best of them, that of " + report.best_local +
           ".  pooled: one adapter on all records in one place,\nas many steps, each on as many tokens as all sites "
           "together.\n";
  if (!report.losses_by_round.empty()) {
    table += "\nfederated adapter, round by round: ";
    for (const double loss : report.losses_by_round) table += " " + Number(loss);
    table += "\n";
  }
  std::snprintf(line, sizeof(line),
                "\nThe federation closes %.0f %% of the distance between base and pooled. %.0f s.\n",
                100 * report.ClosedDistance(), report.seconds);
  table += line;
  if (!report.question.empty()) {
    table += "\nAsked at " + report.asked_at + ", which has no such record:\n  " + report.question +
             "\n  before:   " + report.answer_before + "\n  after:    " + report.answer_after +
             "\n  expected: " + report.expected + "\n";
  }
  return table;
}

Json ToJson(const DemoReport& report) {
  Json sites = Json::array();
  for (const DemoReport::Site& site : report.sites) {
    Json json = {{"name", site.name}, {"records", site.records}, {"bytes_sent", site.bytes_sent}};
    AddLosses(json, site.losses);
    sites.push_back(json);
  }
  Json overall = Json::object();
  AddLosses(overall, report.overall);
  return {{"version", 1},
          {"sites", sites},
          {"overall", overall},
          {"best_local", report.best_local},
          {"closed_distance", report.ClosedDistance()},
          {"losses_by_round", report.losses_by_round},
          {"rounds", report.rounds},
          {"seconds", report.seconds},
          {"question",
           {{"asked_at", report.asked_at},
            {"text", report.question},
            {"expected", report.expected},
            {"before", report.answer_before},
            {"after", report.answer_after}}}};
}

}  // namespace fedglm::cli
