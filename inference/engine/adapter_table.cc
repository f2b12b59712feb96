#include "inference/engine/adapter_table.h"

#include <utility>

namespace fedglm {
namespace {

uint64_t RoomFor(const std::map<std::string_view, uint64_t>& sizes) {
  std::vector<uint64_t> bytes;
  for (const auto& [name, size] : sizes) bytes.push_back(size);
  return RoomForAdapters(bytes);
}

}  // namespace

void AdapterTable::Set(std::string_view name, std::shared_ptr<const BoundAdapter> factors) {
  MutexLock lock(mutex_);
  if (name != kDefault && factors == nullptr && !named_.contains(name)) return;
  InstalledAdapter& adapter = name == kDefault ? default_ : named_[std::string(name)];
  if (adapter.generation != 0) retired_.push_back(adapter.generation);
  const uint64_t generation = factors != nullptr ? ++last_generation_ : 0;
  adapter = {generation, std::move(factors)};
  if (name != kDefault && generation == 0) named_.erase(named_.find(name));
}

InstalledAdapter AdapterTable::Default() const {
  MutexLock lock(mutex_);
  return default_;
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

std::map<std::string_view, uint64_t> AdapterTable::Sizes() const {
  std::map<std::string_view, uint64_t> sizes;
  if (default_.factors != nullptr) sizes[kDefault] = default_.factors->bytes();
  for (const auto& [name, adapter] : named_) sizes[name] = adapter.factors->bytes();
  return sizes;
}

uint64_t AdapterTable::Room() const {
  MutexLock lock(mutex_);
  return RoomFor(Sizes());
}

uint64_t AdapterTable::RoomWith(std::string_view name, uint64_t bytes) const {
  MutexLock lock(mutex_);
  std::map<std::string_view, uint64_t> sizes = Sizes();
  sizes[name] = bytes;
  return RoomFor(sizes);
}

std::vector<uint64_t> AdapterTable::TakeRetired() {
  MutexLock lock(mutex_);
  return std::exchange(retired_, {});
}

}  // namespace fedglm
