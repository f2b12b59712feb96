// What of a model stays in memory and what is streamed, decided before anything is loaded: a pure function of the
// model's sizes and a budget.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/status.h"
#include "inference/gguf/architecture.h"
#include "inference/memory/memory_budget.h"
#include "inference/memory/weight_layout.h"

namespace fedglm {

struct PlanOptions {
  uint64_t budget = 0;            // bytes; 0: DefaultMemoryBudget()
  int64_t context = 8192;         // positions of one sequence
  int64_t running = 1;            // sequences computed together
  uint64_t activation_bytes = 0;  // of the largest batch
  int threads = 1;
  uint64_t kv_bytes_per_position = 0;  // of all layers, keys and values
  uint64_t process_bytes = 0;          // what the program holds without the model
  uint64_t adapter_bytes = 0;          // set aside for adapters: RoomForAdapters
  double memory_bandwidth = 0;         // bytes a second that the threads read; 0: unknown
  double disk_bandwidth = 0;           // bytes a second from the model's file; 0: unknown
};

// Two slots: one is computed with while the other is read. A third would cost a pinned layer, whose bytes would then be
// read for every token.
inline constexpr int64_t kRingSlots = 2;

struct MemoryPlan {
  uint64_t budget = 0;
  std::array<uint64_t, kMemoryAccounts> accounts = {};  // bytes by MemoryAccount; together at most `budget`
  std::vector<bool> pinned;                             // [layers + 1], the last is the output matrix
  int64_t ring_slots = 0;                               // 0: nothing is streamed
  uint64_t slot_bytes = 0;
  int64_t kv_positions = 0;     // that the KV account has room for, of all sequences together
  uint64_t weight_bytes = 0;    // read from memory for a token
  uint64_t streamed_bytes = 0;  // read from the disk for a pass, however many tokens it computes
  double memory_bandwidth = 0, disk_bandwidth = 0;
  double tokens_per_second = 0;  // of one sequence; 0: unknown

  uint64_t account(MemoryAccount which) const { return accounts[static_cast<size_t>(which)]; }
  uint64_t total() const;
  int64_t layers() const { return static_cast<int64_t>(pinned.size()) - 1; }
  int64_t pinned_count() const;  // of layers and the output matrix
  bool streams() const { return ring_slots > 0; }
};

// ResourceExhausted, saying how much would be needed, if the budget does not hold one pinned matrix, the ring, the KV
// pages of min(context, 512) positions and the adapters. More budget never pins fewer layers, larger adapters never
// more.
absl::StatusOr<MemoryPlan> PlanMemory(const WeightLayout& layout, const Hyperparameters& hyperparameters,
                                      const PlanOptions& options);

// Which of layers + 1 matrices are pinned first; `layers` is the output matrix, which comes first: it is the largest,
// and streamed it would make every slot of the ring as large. Any prefix leaves the streamed layers evenly spread
// between the pinned ones, so that the disk works while those are computed.
std::vector<int64_t> PinningOrder(int64_t layers);

// What the first n of the pinning order cost, together with the ring that the others are streamed through.
struct ResidencyCost {
  uint64_t pinned_bytes = 0;
  uint64_t slot_bytes = 0;
  int64_t slots = 0;
  uint64_t ring_bytes() const { return slot_bytes * static_cast<uint64_t>(slots); }
  uint64_t bytes() const { return pinned_bytes + ring_bytes(); }
};
// [n] for n = 0 .. layers + 1.
std::vector<ResidencyCost> ResidencyCosts(const WeightLayout& layout);

}  // namespace fedglm
