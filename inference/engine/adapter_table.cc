#include "inference/engine/adapter_table.h"

#include <utility>

namespace fedglm {

void AdapterTable::Retire(const InstalledAdapter& adapter) {
  if (adapter.generation != 0) retired_.push_back(adapter.generation);
}

void AdapterTable::SetDefault(std::shared_ptr<const BoundAdapter> factors) {
  MutexLock lock(mutex_);
  Retire(default_);
  const uint64_t generation = factors != nullptr ? ++last_generation_ : 0;
  default_ = {generation, std::move(factors)};
}

InstalledAdapter AdapterTable::Default() const {
  MutexLock lock(mutex_);
  return default_;
}

void AdapterTable::Add(std::string name, std::shared_ptr<const BoundAdapter> factors) {
  MutexLock lock(mutex_);
  InstalledAdapter& adapter = named_[std::move(name)];
  Retire(adapter);
  adapter = {++last_generation_, std::move(factors)};
}

void AdapterTable::Remove(std::string_view name) {
  MutexLock lock(mutex_);
  const auto found = named_.find(name);
  if (found == named_.end()) return;
  Retire(found->second);
  named_.erase(found);
}

absl::StatusOr<InstalledAdapter> AdapterTable::Find(std::string_view name) const {
  MutexLock lock(mutex_);
  const auto found = named_.find(name);
  if (found == named_.end()) return UsageError("there is no adapter '" + std::string(name) + "'");
  return found->second;
}

std::vector<std::string> AdapterTable::Names() const {
  MutexLock lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [name, adapter] : named_) names.push_back(name);
  return names;
}

std::vector<uint64_t> AdapterTable::TakeRetired() {
  MutexLock lock(mutex_);
  return std::exchange(retired_, {});
}

}  // namespace fedglm
