// What goes wrong outside of a node, and what the node does about it: when it tries again, and what it says meanwhile.
// Pure: no thread, no clock, no chance of its own. Nothing here ends the node, which serves its site all the same.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "base/status.h"

namespace fedglm {

enum class Setback {
  kAway,       // the aggregator cannot be reached
  kNotWanted,  // it refuses this site, or one of the two does not trust the other's certificate
  kRecords,    // the site's records cannot be trained on
  kMachine,    // everything else: a killed trainer, a full disk, an answer that makes no sense
};

// One line for each.
struct SetbackRule {
  Setback setback;
  const char* word;  // how the aggregator is told (never more: its text may name a record's file); "": it is not
  // The pause before the next try is drawn from [0, longest) if the site comes back as one of many, who should not all
  // come at once; else it begins with `shortest` and doubles from try to try.
  bool drawn;
  std::chrono::milliseconds shortest, longest;
};
const SetbackRule& RuleOf(Setback setback);
Setback SetbackOf(const absl::Status& error);

// The tries since something last worked.
class Persistence {
 public:
  using Time = std::chrono::steady_clock::time_point;

  struct Answer {
    std::chrono::milliseconds pause;
    std::string say;  // for the log; empty: it has been said, and not long ago
  };
  // `draw`: a random number in [0, 1). What is said: the first error of its kind at once, another of this kind after a
  // minute, the same one after an hour.
  Answer Failed(const absl::Status& error, Time now, double draw);
  // What to say now that something worked; empty if nothing was wrong.
  std::string Worked(Time now);

 private:
  // Of one kind: errors of two kinds in turn make neither of them new again.
  struct Trouble {
    int tries = 0;  // that failed so, since something last worked
    Time since, said_at;
    std::string said;
  };
  std::map<Setback, Trouble> troubles_;
};

}  // namespace fedglm
