// A grammar as a pushdown automaton over bytes: for every rule a finite automaton, whose moves read a byte or call a
// rule. Private to this folder.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "inference/grammar/grammar.h"
#include "inference/grammar/unicode.h"

namespace fedglm {

using StateId = uint32_t;
using RuleId = uint32_t;

struct Move {
  enum class Kind : uint8_t { kByte, kCall, kEpsilon };
  Kind kind = Kind::kEpsilon;
  uint8_t low = 0;  // kByte: of the bytes, in a Grammar of their classes; both ends belong to it
  uint8_t high = 0;
  StateId to = 0;
  RuleId rule = 0;  // kCall: goes on at `to` when that rule has been read
};

// Rules have been checked: each can end, from each state; none calls itself before it has read a byte.
class Grammar {
 public:
  struct Rule {
    StateId start = 0;
    uint32_t order = 0;     // below that of all rules that it can call before it has read a byte
    bool nullable = false;  // may be empty
  };
  struct State {
    uint32_t first_move = 0;
    uint32_t moves = 0;
    bool accepts = false;  // the rule may end here
    bool reads = false;    // has a kByte move
  };

  std::vector<Rule> rules;  // by RuleId; those that can never end are never called
  std::vector<State> states;
  std::vector<Move> moves;  // those of one state lie together
  RuleId root = 0;
  // Bytes that no move tells apart have one class, so that tables over bytes become short.
  std::array<uint8_t, 256> class_of_byte = {};
  uint32_t classes = 1;
};

// Collects the rules of a grammar and makes the automaton.
class GrammarBuilder {
 public:
  // `line` is where a message says that the rule stands.
  RuleId AddRule(std::string name, int64_t line);
  RuleId AddPartOf(RuleId rule) { return AddRule(rules_[rule].name, rules_[rule].line); }  // messages name the whole
  void SetLine(RuleId rule, int64_t line) { rules_[rule].line = line; }
  StateId AddState();
  StateId start(RuleId rule) const { return rules_[rule].start; }
  StateId end(RuleId rule) const { return rules_[rule].end; }

  void AddEpsilon(StateId from, StateId to) { Add(from, {.kind = Move::Kind::kEpsilon, .to = to}); }
  void AddCall(StateId from, RuleId rule, StateId to) {
    Add(from, {.kind = Move::Kind::kCall, .to = to, .rule = rule});
  }
  StateId AddBytes(StateId from, std::string_view bytes);  // the state after them
  void AddCharacters(StateId from, const CharacterSet& set, StateId to);

  // The grammar has grown beyond what it may: nothing more need be added, Build would refuse it.
  bool TooLarge() const { return states_.size() > kMaxStates || move_count_ > kMaxMoves; }

  // UsageError if it is too large, or if a rule is left-recursive, or the root can never end. The builder is spent.
  absl::StatusOr<std::shared_ptr<const Grammar>> Build(RuleId root);

 private:
  static constexpr size_t kMaxStates = size_t{1} << 18;
  static constexpr size_t kMaxMoves = size_t{1} << 20;

  struct RuleDraft {
    std::string name;
    int64_t line = 0;
    StateId start = 0;
    StateId end = 0;
  };

  void Add(StateId from, const Move& move);
  void AddByteRange(StateId from, ByteRange range, StateId to) {
    Add(from, {.kind = Move::Kind::kByte, .low = range.low, .high = range.high, .to = to});
  }
  std::string Describe(RuleId rule) const;
  // The passes of Build, in their order. Each takes time linear in the moves.
  void RemoveDeadEnds();
  void FindNullable();
  std::vector<RuleId> LeftCalls(RuleId rule, std::vector<bool>& visited) const;
  absl::Status OrderRules();
  void SkipLoneEpsilons();
  void ClassifyBytes(Grammar& grammar) const;

  std::vector<RuleDraft> rules_;
  std::vector<std::vector<Move>> states_;
  size_t move_count_ = 0;
  std::map<std::vector<std::pair<CodePoint, CodePoint>>, RuleId> character_rules_;  // sets beyond ASCII, each once

  // What the passes find, by rule.
  std::vector<bool> nullable_, productive_;
  std::vector<uint32_t> order_;
};

}  // namespace fedglm
