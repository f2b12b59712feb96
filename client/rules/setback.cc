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
    {Setback::kAway, true, milliseconds(0), milliseconds(700)},
    {Setback::kNotWanted, false, seconds(1), seconds(60)},
    {Setback::kRecords, false, seconds(1), minutes(10)},  // each try starts a trainer, which reads them
    {Setback::kMachine, false, seconds(1), seconds(60)},
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
  const Setback setback = SetbackOf(error);
  const SetbackRule& rule = RuleOf(setback);
  const bool is_new = !failing_ || setback != setback_;
  if (!failing_) since_ = now;
  if (is_new) tries_ = 0;
  failing_ = true;
  setback_ = setback;

  Answer answer;
  const std::string message = Message(error);
  if (rule.drawn) {
    answer.pause = milliseconds(static_cast<int64_t>(draw * static_cast<double>(rule.longest.count())));
  } else {
    answer.pause = std::min(rule.longest, rule.shortest * (int64_t{1} << std::min(tries_, 20)));
  }
  ++tries_;
  if (is_new || now - said_at_ >= (message == said_ ? kSameAfter : kAnotherAfter)) {
    answer.say = message + (is_new ? "; trying again" : "; still trying, for " + InWords(now - since_));
    said_ = message;
    said_at_ = now;
  }
  return answer;
}

std::string Persistence::Worked(Time now) {
  if (!failing_) return "";
  failing_ = false;
  return "works again after " + InWords(now - since_);
}

}  // namespace fedglm
