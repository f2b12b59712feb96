#include "aggregator/store/mirror.h"

#include <algorithm>

namespace fedglm {

void Mirror::PutNode(const NodeRow& node) {
  MutexLock lock(mutex_);
  nodes_[node.site_id] = node;
}

void Mirror::ChangeNode(const std::string& site_id, const std::function<void(NodeRow&)>& change) {
  MutexLock lock(mutex_);
  if (const auto node = nodes_.find(site_id); node != nodes_.end()) change(node->second);
}

std::optional<NodeRow> Mirror::FindNode(const std::string& site_id) const {
  MutexLock lock(mutex_);
  const auto node = nodes_.find(site_id);
  return node == nodes_.end() ? std::nullopt : std::optional<NodeRow>(node->second);
}

void Mirror::VisitNodes(const std::function<void(const NodeRow&)>& visit) const {
  MutexLock lock(mutex_);
  for (const auto& [site_id, node] : nodes_) visit(node);
}

void Mirror::BeginRound(int64_t round) {
  MutexLock lock(mutex_);
  round_ = round;
  updates_.clear();
  expected_.clear();
  counts_ = {};
}

void Mirror::Count(const UpdateRow& update, int64_t by) {
  switch (update.state) {
    case UpdateState::kExpected:
      counts_.expected += by;
      if (by > 0) expected_.insert(update.site_id);
      if (by < 0) expected_.erase(update.site_id);
      break;
    case UpdateState::kAccepted:
      counts_.accepted += by;
      break;
    case UpdateState::kRefused:
      counts_.refused += by;
      break;
  }
}

void Mirror::PutUpdate(const UpdateRow& update) {
  MutexLock lock(mutex_);
  if (update.round != round_) return;
  const auto [before, is_new] = updates_.try_emplace(update.update_id, update);
  if (!is_new) {
    Count(before->second, -1);
    before->second = update;
  }
  Count(update, 1);
}

void Mirror::ChangeUpdates(const std::function<void(UpdateRow&)>& change) {
  MutexLock lock(mutex_);
  for (auto& [update_id, update] : updates_) {
    Count(update, -1);
    change(update);
    Count(update, 1);
  }
}

std::optional<UpdateRow> Mirror::FindUpdate(const std::string& update_id) const {
  MutexLock lock(mutex_);
  const auto update = updates_.find(update_id);
  return update == updates_.end() ? std::nullopt : std::optional<UpdateRow>(update->second);
}

std::optional<std::vector<UpdateRow>> Mirror::UpdatesOf(int64_t round) const {
  MutexLock lock(mutex_);
  if (round != round_) return std::nullopt;
  std::vector<UpdateRow> updates;
  updates.reserve(updates_.size());
  for (const auto& [update_id, update] : updates_) updates.push_back(update);
  return updates;
}

UpdateCounts Mirror::Counts() const {
  MutexLock lock(mutex_);
  return counts_;
}

bool Mirror::AllExpected(const std::function<bool(const std::string&)>& holds) const {
  MutexLock lock(mutex_);
  return std::all_of(expected_.begin(), expected_.end(), holds);
}

}  // namespace fedglm
