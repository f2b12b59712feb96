// Reads bytes through a grammar. Private to this folder.
//
// Where a text may stand is a set of (state of a rule's automaton, returns), as in a generalized parser with a
// graph-structured stack (Scott & Johnstone, "GLL Parsing", 2010). Sets and stacks are interned: equal ones have one
// id, and what a byte leads to is computed once for a set, so that in the end reading a byte is looking up a table.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "inference/grammar/automaton.h"

namespace fedglm {

// Not thread-safe. A SetId is good until the next call of Commit.
class Recognizer {
 public:
  using SetId = uint32_t;
  static constexpr SetId kDead = 0;  // no text begins with what has been read

  explicit Recognizer(std::shared_ptr<const Grammar> grammar);

  SetId current() const { return current_; }
  // Takes what was read up to `set` as read for good. True if the ids of all sets are others now: what had been
  // computed grew too large and was dropped.
  bool Commit(SetId set);

  // Where a byte leads from `set`. What this computes anew is limited between two calls of Commit; beyond that, the
  // answer is kDead for what is not known yet.
  SetId Step(SetId set, uint8_t byte) {
    const SetId next = transitions_[size_t{set} * grammar_->classes + grammar_->class_of_byte[byte]];
    return next != kUnknown ? next : ComputeStep(set, byte, /*limited=*/true);
  }
  // The same without limit.
  SetId StepUnlimited(SetId set, uint8_t byte);
  bool IsComplete(SetId set) const { return sets_[set]->complete; }

 private:
  using StackId = uint32_t;
  static constexpr SetId kUnknown = UINT32_MAX;

  // Once the rule has been read: go on at `state` with the returns of `stack`. At the bottom of a stack: the text ends.
  struct Return {
    StateId state;
    StackId stack;
    bool operator==(const Return&) const = default;
    auto operator<=>(const Return&) const = default;
  };
  using Position = Return;  // where a text may stand has the same form
  static constexpr StateId kTextEnds = UINT32_MAX;

  struct Set {
    std::vector<Position> positions;  // sorted; those that read a byte
    bool complete = false;
    bool operator==(const Set&) const = default;
  };
  struct Hash {
    size_t operator()(const std::vector<Return>& returns) const;
    size_t operator()(const Set& set) const { return (*this)(set.positions) * 2 + (set.complete ? 1 : 0); }
    size_t operator()(const Position& position) const;
  };

  void Clear();
  SetId ComputeStep(SetId set, uint8_t byte, bool limited);
  SetId Close(std::vector<Position> open);
  StackId InternStack(std::vector<Return> returns);
  SetId InternSet(Set set);
  StackId CopyStack(const std::vector<const std::vector<Return>*>& stacks, StackId stack, std::vector<StackId>& copies);

  const std::shared_ptr<const Grammar> grammar_;
  SetId current_ = kDead;
  std::unordered_map<std::vector<Return>, StackId, Hash> stack_ids_;
  std::vector<const std::vector<Return>*> stacks_;  // into stack_ids_
  std::unordered_map<Set, SetId, Hash> set_ids_;
  std::vector<const Set*> sets_;    // into set_ids_
  std::vector<SetId> transitions_;  // [set][class of byte]
  size_t stored_ = 0;               // positions and returns in all sets and stacks
  size_t kept_ = 0;                 // of these, those that were there after the last Clear
  size_t work_ = 0;                 // positions and returns looked at since the last Commit
  size_t new_sets_ = 0;             // since the last Commit

  // Close's scratch.
  std::unordered_set<Position, Hash> visited_;
  std::unordered_set<Position, Hash>
      passed_on_;                             // stacks whose returns were given to a rule, or (kTextEnds) returned to
  std::vector<std::vector<Return>> pending_;  // by rule: its callers, until it is entered
};

}  // namespace fedglm
