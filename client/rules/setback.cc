#include "client/rules/setback.h"

#include <algorithm>

namespace fedglm {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

// An aggregator that is back has its sites within two seconds: these 700 ms, and as much of gRPC's
// (federation_client.cc).
constexpr SetbackRule kRules[] = {
    {Setback::kAway, "", true, milliseconds(0), milliseconds(700)},
    {Setback::kNotWanted, "", false, seconds(1), seconds(60)},
    {Setback::kRecords, "records", false, seconds(1), minutes(5)},  // each try starts a trainer, which reads them
    {Setback::kMachine, "machine", false, seconds(1), seconds(60)},
};
constexpr auto kAnotherAfter = minutes(1);
constexpr auto kSameAfter = minutes(60);

std::string InWords(std::chrono::steady_clock::duration time) {
  const auto whole = std::chrono::duration_cast<seconds>(time).count();
  if (whole < 120) return std::to_string(whole) + " s";
  if (whole < 7200) return std::to_string(whole / 60) + " min";
  return std::to_string(whole / 3600) + " h";
}

}  // namespace

const SetbackRule& RuleOf(Setback setback) {
  return *std::find_if(std::begin(kRules), std::end(kRules),
                       [&](const SetbackRule& rule) { return rule.setback == setback; });
}

Setback SetbackOf(const absl::Status& error) {
  switch (ExitCodeOf(error)) {
    case ExitCode::kUnreachable:
      return Setback::kAway;
    case ExitCode::kRefused:
      return Setback::kNotWanted;
    case ExitCode::kBadInputFile:
      return Setback::kRecords;
    default:
      return Setback::kMachine;
  }
}

Persistence::Answer Persistence::Failed(const absl::Status& error, Time now, double draw) {
  const SetbackRule& rule = RuleOf(SetbackOf(error));
  Trouble& trouble = troubles_[rule.setback];
  const bool is_new = trouble.tries == 0;
  if (is_new) trouble.since = now;

  Answer answer;
  if (rule.drawn) {
    answer.pause = milliseconds(static_cast<int64_t>(draw * static_cast<double>(rule.longest.count())));
  } else {
    answer.pause = std::min(rule.longest, rule.shortest * (int64_t{1} << std::min(trouble.tries, 20)));
  }
  ++trouble.tries;
  const std::string message = Message(error);
  if (is_new || now - trouble.said_at >= (message == trouble.said ? kSameAfter : kAnotherAfter)) {
    answer.say = message + (is_new ? "; trying again" : "; still trying, for " + InWords(now - trouble.since));
    trouble.said = message;
    trouble.said_at = now;
  }
  return answer;
}

std::string Persistence::Worked(Time now) {
  if (troubles_.empty()) return "";
  Time since = now;
  for (const auto& [setback, trouble] : troubles_) since = std::min(since, trouble.since);
  troubles_.clear();
  return "works again after " + InWords(now - since);
}

}  // namespace fedglm
