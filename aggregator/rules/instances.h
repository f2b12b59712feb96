// Two nodes with one identity: a state folder that was copied, a virtual machine that was restored beside itself. Both
// have the site's key; each start of a node has a name of its own, made at random. A node that is started again comes
// with a new name and the old one is never heard again; where an old one is, there are two.
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <optional>
#include <string>

namespace fedglm {

// Not thread-safe. In memory: after a start of this program it is found again as soon as both have asked.
class Instances {
 public:
  using Time = std::chrono::steady_clock::time_point;
  enum class Verdict {
    kFine,
    kRefused,      // another node is there
    kOtherRefused  // this one was there first: from now on the other one is refused. Said once in ten minutes
  };
  // Who comes second is refused until nothing was heard of the first for `silence`. An empty name, as of an older
  // node's, is fine.
  Verdict Ask(const std::string& site_id, const std::string& instance, Time now, Time::duration silence);
  // The site called for something else, which only the node that is not refused does.
  void Heard(const std::string& site_id, Time now);

 private:
  struct Site {
    std::string current, refused;
    Time heard;                      // of the current one
    std::optional<Time> told;        // when it was last said that there are two
    std::deque<std::string> before;  // the newest last
  };
  std::map<std::string, Site> sites_;
};

}  // namespace fedglm
