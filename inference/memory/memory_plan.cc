#include "inference/memory/memory_plan.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "base/configuration.h"

namespace fedglm {
namespace {

constexpr int64_t kLeastPositions = 512;             // a shorter context is of no use
constexpr uint64_t kKvShare = 8;                     // of a tight budget, one part in so many goes to KV pages
constexpr uint64_t kStackBytes = uint64_t{1} << 20;  // of a thread, touched part
// A vocabulary on the heap takes this many times its place in the file (measured: GLM-4's 151,552 tokens with merges).
constexpr uint64_t kVocabularyGrowth = 6;
constexpr uint64_t kCandidateBytes = 8;               // of a token that a sampler may choose: its logit and its number
constexpr uint64_t kRingBuffers = uint64_t{4} << 20;  // of the reader: queue, small buffers

uint64_t ScratchBytes(const WeightLayout& layout, const Hyperparameters& h, const PlanOptions& options) {
  const uint64_t candidates = static_cast<uint64_t>(options.running) * static_cast<uint64_t>(h.vocabulary);
  return options.process_bytes + candidates * kCandidateBytes + layout.vector_values * sizeof(float) +
         layout.metadata_bytes * (kVocabularyGrowth + 1) + static_cast<uint64_t>(options.threads) * kStackBytes +
         kRingBuffers;
}

}  // namespace

uint64_t MemoryPlan::total() const { return std::accumulate(accounts.begin(), accounts.end(), uint64_t{0}); }

int64_t MemoryPlan::pinned_count() const { return std::count(pinned.begin(), pinned.end(), true); }

std::vector<int64_t> PinningOrder(int64_t layers) {
  // Layers in van der Corput's order (the bits of a counter, reversed): every prefix is spread evenly, and so is what a
  // prefix leaves.
  std::vector<int64_t> order = {layers};
  int bits = 0;
  while ((int64_t{1} << bits) < layers) ++bits;
  for (int64_t i = 0; i < (int64_t{1} << bits); ++i) {
    int64_t reversed = 0;
    for (int bit = 0; bit < bits; ++bit) reversed |= ((i >> bit) & 1) << (bits - 1 - bit);
    if (reversed < layers) order.push_back(reversed);
  }
  return order;
}

std::vector<ResidencyCost> ResidencyCosts(const WeightLayout& layout) {
  const std::vector<int64_t> order = PinningOrder(layout.output());
  const size_t count = order.size();
  const auto bytes = [&](size_t n) { return layout.layers[static_cast<size_t>(order[n])].bytes(); };
  std::vector<ResidencyCost> costs(count + 1);
  for (size_t n = 0; n < count; ++n) costs[n + 1].pinned_bytes = costs[n].pinned_bytes + bytes(n);
  for (size_t n = count; n-- > 0;) {
    costs[n].slot_bytes = std::max(costs[n + 1].slot_bytes, bytes(n));
    costs[n].slots = std::min<int64_t>(kRingSlots, static_cast<int64_t>(count - n));
  }
  return costs;
}

absl::StatusOr<MemoryPlan> PlanMemory(const WeightLayout& layout, const Hyperparameters& h,
                                      const PlanOptions& options) {
  MemoryPlan plan;
  plan.budget = options.budget != 0 ? options.budget : DefaultMemoryBudget();
  const uint64_t scratch = ScratchBytes(layout, h, options);
  const uint64_t context = static_cast<uint64_t>(options.context);
  const uint64_t kv_least = std::min<uint64_t>(context, kLeastPositions) * options.kv_bytes_per_position;
  const uint64_t kv_sequence = context * options.kv_bytes_per_position;
  const uint64_t kv_all = kv_sequence * static_cast<uint64_t>(std::max<int64_t>(1, options.running));

  const std::vector<ResidencyCost> costs = ResidencyCosts(layout);
  uint64_t least = costs.back().bytes();
  for (const ResidencyCost& cost : costs) least = std::min(least, cost.bytes());
  const uint64_t fixed = scratch + options.activation_bytes + options.adapter_bytes;
  const uint64_t needed = fixed + kv_least + least;
  if (needed > plan.budget) {
    const std::string who = options.adapter_bytes > 0 ? "the model and its adapters need " : "the model needs ";
    return absl::ResourceExhaustedError(who + FormatByteSize(needed) + " of memory at least, the budget is " +
                                        FormatByteSize(plan.budget) +
                                        ": raise --memory-budget, or use a smaller model");
  }

  // A share of what is not bound to anything goes to KV pages, up to one whole sequence; it grows more slowly than the
  // budget, so that more budget never pins fewer layers.
  const uint64_t kv = std::max(kv_least, std::min(kv_sequence, kv_least + (plan.budget - needed) / kKvShare));
  const uint64_t weights = plan.budget - fixed - kv;
  size_t count = costs.size() - 1;
  while (costs[count].bytes() > weights) --count;  // ends: `least` fits
  const ResidencyCost& cost = costs[count];

  const std::vector<int64_t> order = PinningOrder(layout.output());
  plan.pinned.assign(order.size(), false);
  for (size_t i = 0; i < count; ++i) plan.pinned[static_cast<size_t>(order[i])] = true;
  plan.ring_slots = cost.slots;
  plan.slot_bytes = cost.slot_bytes;
  const uint64_t kv_account = std::max(kv, std::min(kv_all, plan.budget - fixed - cost.bytes()));
  plan.accounts = {cost.pinned_bytes,        cost.ring_bytes(), kv_account,
                   options.activation_bytes, scratch,           options.adapter_bytes};
  if (options.kv_bytes_per_position > 0) {
    plan.kv_positions = static_cast<int64_t>(kv_account / options.kv_bytes_per_position);
  }

  plan.weight_bytes = layout.bytes();
  plan.streamed_bytes = plan.weight_bytes - cost.pinned_bytes;
  plan.memory_bandwidth = options.memory_bandwidth;
  plan.disk_bandwidth = options.disk_bandwidth;
  // The two overlap: the slower one is what a token takes.
  const bool known = options.memory_bandwidth > 0 && (options.disk_bandwidth > 0 || plan.streamed_bytes == 0);
  if (known) {
    const double memory_seconds = static_cast<double>(plan.weight_bytes) / options.memory_bandwidth;
    const double disk_seconds =
        plan.streamed_bytes == 0 ? 0 : static_cast<double>(plan.streamed_bytes) / options.disk_bandwidth;
    plan.tokens_per_second = 1 / std::max({memory_seconds, disk_seconds, 1e-9});
  }
  return plan;
}

}  // namespace fedglm
