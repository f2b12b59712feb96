// What the services ask for at every call, in memory as it is in the database: the members, and the updates of the last
// round. With a thousand sites waiting, a call would else cost a thousand queries.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "aggregator/store/rows.h"
#include "base/thread_annotations.h"

namespace fedglm {

// How many updates of a round are in which state.
struct UpdateCounts {
  int64_t expected = 0, accepted = 0, refused = 0;
};

// Thread-safe. Who writes to the database writes here when that has succeeded (Store); nothing here fails.
class Mirror {
 public:
  void PutNode(const NodeRow& node);
  // Does nothing if there is no such site.
  void ChangeNode(const std::string& site_id, const std::function<void(NodeRow&)>& change);
  std::optional<NodeRow> FindNode(const std::string& site_id) const;
  // In the order of their names, under the lock: `visit` only looks.
  void VisitNodes(const std::function<void(const NodeRow&)>& visit) const;

  // The updates of the last round.
  void BeginRound(int64_t round);           // with none
  void PutUpdate(const UpdateRow& update);  // of another round than the last: nothing
  void ChangeUpdates(const std::function<void(UpdateRow&)>& change);
  std::optional<UpdateRow> FindUpdate(const std::string& update_id) const;
  // In the order of their ids; nothing of another round than the last.
  std::optional<std::vector<UpdateRow>> UpdatesOf(int64_t round) const;
  UpdateCounts Counts() const;
  // Whether `holds` is true of each site whose update is expected; asked until it is not.
  bool AllExpected(const std::function<bool(const std::string& site_id)>& holds) const;

 private:
  void Count(const UpdateRow& update, int64_t by) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  std::map<std::string, NodeRow> nodes_ ABSL_GUARDED_BY(mutex_);
  int64_t round_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, UpdateRow> updates_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> expected_ ABSL_GUARDED_BY(mutex_);  // site ids
  UpdateCounts counts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace fedglm
