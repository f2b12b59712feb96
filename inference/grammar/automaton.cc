#include "inference/grammar/automaton.h"

#include <algorithm>
#include <utility>

namespace fedglm {
namespace {

constexpr RuleId kNoRule = UINT32_MAX;

}  // namespace

RuleId GrammarBuilder::AddRule(std::string name, int64_t line) {
  const StateId start = AddState();
  const StateId end = AddState();
  rules_.push_back({std::move(name), line, start, end});
  return static_cast<RuleId>(rules_.size() - 1);
}

StateId GrammarBuilder::AddState() {
  states_.emplace_back();
  return static_cast<StateId>(states_.size() - 1);
}

void GrammarBuilder::Add(StateId from, const Move& move) {
  states_[from].push_back(move);
  ++move_count_;
}

StateId GrammarBuilder::AddBytes(StateId from, std::string_view bytes) {
  for (const char c : bytes) {
    if (TooLarge()) break;
    const StateId to = AddState();
    const auto byte = static_cast<uint8_t>(c);
    AddByteRange(from, {byte, byte}, to);
    from = to;
  }
  return from;
}

void GrammarBuilder::AddCharacters(StateId from, const CharacterSet& set, StateId to) {
  // ASCII is read where it stands; the characters of several bytes are a rule, which all places that read them share.
  std::vector<std::pair<CodePoint, CodePoint>> beyond;
  for (const CodePointRange& range : set) {
    if (range.low <= 0x7F) {
      AddByteRange(from, {static_cast<uint8_t>(range.low), static_cast<uint8_t>(std::min(range.high, CodePoint{0x7F}))},
                   to);
    }
    if (range.high > 0x7F) beyond.emplace_back(std::max(range.low, CodePoint{0x80}), range.high);
  }
  if (beyond.empty()) return;
  const auto [found, is_new] = character_rules_.try_emplace(beyond, kNoRule);
  if (is_new) {
    const RuleId rule = AddRule("characters", 0);
    found->second = rule;
    for (const auto& [low, high] : beyond) {
      for (const std::vector<ByteRange>& sequence : Utf8Sequences({low, high})) {
        StateId state = start(rule);
        for (size_t i = 0; i < sequence.size(); ++i) {
          const StateId next = i + 1 == sequence.size() ? end(rule) : AddState();
          AddByteRange(state, sequence[i], next);
          state = next;
        }
      }
    }
  }
  AddCall(from, found->second, to);
}

std::string GrammarBuilder::Describe(RuleId rule) const {
  return "line " + std::to_string(rules_[rule].line) + ": rule '" + rules_[rule].name + "'";
}

// Keeps the moves from which the end of their rule can be reached. A rule can end (is productive) if its start is kept.
void GrammarBuilder::RemoveDeadEnds() {
  struct Arrival {
    StateId from;
    RuleId rule;  // that must be productive; kNoRule if the move is no call
  };
  std::vector<std::vector<Arrival>> arrivals(states_.size());
  for (StateId from = 0; from < states_.size(); ++from) {
    for (const Move& move : states_[from]) {
      arrivals[move.to].push_back({from, move.kind == Move::Kind::kCall ? move.rule : kNoRule});
    }
  }
  std::vector<RuleId> rule_started_by(states_.size(), kNoRule);
  std::vector<StateId> open;
  std::vector<bool> kept(states_.size());
  const auto keep = [&](StateId state) {
    if (kept[state]) return;
    kept[state] = true;
    open.push_back(state);
  };
  for (RuleId rule = 0; rule < rules_.size(); ++rule) {
    rule_started_by[rules_[rule].start] = rule;
    keep(rules_[rule].end);
  }
  productive_.assign(rules_.size(), false);
  std::vector<std::vector<StateId>> waiting(rules_.size());  // states that are kept once the rule is productive
  while (!open.empty()) {
    const StateId state = open.back();
    open.pop_back();
    if (const RuleId rule = rule_started_by[state]; rule != kNoRule) {
      productive_[rule] = true;
      for (const StateId caller : std::exchange(waiting[rule], {})) keep(caller);
    }
    for (const Arrival& arrival : arrivals[state]) {
      if (arrival.rule == kNoRule || productive_[arrival.rule]) {
        keep(arrival.from);
      } else {
        waiting[arrival.rule].push_back(arrival.from);
      }
    }
  }
  for (std::vector<Move>& moves : states_) {
    std::erase_if(moves, [&](const Move& move) {
      return !kept[move.to] || (move.kind == Move::Kind::kCall && !productive_[move.rule]);
    });
  }
}

void GrammarBuilder::FindNullable() {
  nullable_.assign(rules_.size(), false);
  std::vector<RuleId> rule_ended_by(states_.size(), kNoRule);
  std::vector<StateId> open;
  std::vector<bool> reached(states_.size());
  const auto reach = [&](StateId state) {
    if (reached[state]) return;
    reached[state] = true;
    open.push_back(state);
  };
  for (RuleId rule = 0; rule < rules_.size(); ++rule) {
    rule_ended_by[rules_[rule].end] = rule;
    reach(rules_[rule].start);
  }
  std::vector<std::vector<StateId>> waiting(rules_.size());  // states that are reached once the rule is nullable
  while (!open.empty()) {
    const StateId state = open.back();
    open.pop_back();
    if (const RuleId rule = rule_ended_by[state]; rule != kNoRule) {
      nullable_[rule] = true;
      for (const StateId after : std::exchange(waiting[rule], {})) reach(after);
    }
    for (const Move& move : states_[state]) {
      if (move.kind == Move::Kind::kEpsilon || (move.kind == Move::Kind::kCall && nullable_[move.rule])) {
        reach(move.to);
      } else if (move.kind == Move::Kind::kCall) {
        waiting[move.rule].push_back(move.to);
      }
    }
  }
}

// The rules that `rule` may call before it has read a byte. `visited`: by state, shared by the calls for all rules.
std::vector<RuleId> GrammarBuilder::LeftCalls(RuleId rule, std::vector<bool>& visited) const {
  std::vector<RuleId> calls;
  std::vector<StateId> open = {rules_[rule].start};
  while (!open.empty()) {
    const StateId state = open.back();
    open.pop_back();
    if (visited[state]) continue;
    visited[state] = true;
    for (const Move& move : states_[state]) {
      if (move.kind == Move::Kind::kByte) continue;
      if (move.kind == Move::Kind::kCall) calls.push_back(move.rule);
      if (move.kind == Move::Kind::kEpsilon || nullable_[move.rule]) open.push_back(move.to);
    }
  }
  return calls;
}

// Depth-first over left calls: a way back to a rule that is still open is a left recursion; otherwise the order in
// which the rules are left, reversed, has every caller before those it calls.
absl::Status GrammarBuilder::OrderRules() {
  struct Open {
    RuleId rule;
    std::vector<RuleId> calls;  // not yet followed
  };
  enum : uint8_t { kNew, kOpen, kLeft };
  std::vector<uint8_t> progress(rules_.size(), kNew);
  std::vector<bool> visited(states_.size());
  order_.assign(rules_.size(), 0);
  auto next_order = static_cast<uint32_t>(rules_.size());
  std::vector<Open> stack;
  const auto open = [&](RuleId rule) {
    progress[rule] = kOpen;
    stack.push_back({rule, LeftCalls(rule, visited)});
  };
  for (RuleId rule = 0; rule < rules_.size(); ++rule) {
    if (progress[rule] == kNew) open(rule);
    while (!stack.empty()) {
      Open& top = stack.back();
      if (top.calls.empty()) {
        progress[top.rule] = kLeft;
        order_[top.rule] = --next_order;
        stack.pop_back();
        continue;
      }
      const RuleId called = top.calls.back();
      top.calls.pop_back();
      if (progress[called] == kOpen) return UsageError(Describe(called) + " calls itself before it has read anything");
      if (progress[called] == kNew) open(called);
    }
  }
  return absl::OkStatus();
}

// A state that has one move, which reads nothing, is the same as where the move leads. There are no rings of them:
// RemoveDeadEnds has removed what does not lead to an end.
void GrammarBuilder::SkipLoneEpsilons() {
  const auto skips = [&](StateId state) {
    return states_[state].size() == 1 && states_[state][0].kind == Move::Kind::kEpsilon;
  };
  const auto target = [&](StateId state) {
    StateId last = state;
    while (skips(last)) last = states_[last][0].to;
    while (skips(state)) state = std::exchange(states_[state][0].to, last);  // the next one finds it at once
    return last;
  };
  for (std::vector<Move>& moves : states_) {
    for (Move& move : moves) move.to = target(move.to);
  }
  for (RuleDraft& rule : rules_) rule.start = target(rule.start);
}

void GrammarBuilder::ClassifyBytes(Grammar& grammar) const {
  std::array<bool, 257> begins = {};  // a class
  for (const std::vector<Move>& moves : states_) {
    for (const Move& move : moves) {
      if (move.kind != Move::Kind::kByte) continue;
      begins[move.low] = true;
      begins[move.high + 1] = true;
    }
  }
  uint32_t current = 0;
  for (size_t byte = 0; byte < 256; ++byte) {
    if (byte > 0 && begins[byte]) ++current;
    grammar.class_of_byte[byte] = static_cast<uint8_t>(current);
  }
  grammar.classes = current + 1;
}

absl::StatusOr<std::shared_ptr<const Grammar>> GrammarBuilder::Build(RuleId root) {
  if (TooLarge()) return UsageError("the grammar is too large");
  RemoveDeadEnds();
  if (!productive_[root]) return UsageError(Describe(root) + " can never end");
  FindNullable();
  FEDGLM_RETURN_IF_ERROR(OrderRules());
  SkipLoneEpsilons();

  auto grammar = std::make_shared<Grammar>();
  grammar->root = root;
  ClassifyBytes(*grammar);
  for (const std::vector<Move>& moves : states_) {
    Grammar::State& state = grammar->states.emplace_back();
    state.first_move = static_cast<uint32_t>(grammar->moves.size());
    state.moves = static_cast<uint32_t>(moves.size());
    for (Move move : moves) {
      if (move.kind == Move::Kind::kByte) {
        state.reads = true;
        move.low = grammar->class_of_byte[move.low];
        move.high = grammar->class_of_byte[move.high];
      }
      grammar->moves.push_back(move);
    }
  }
  for (RuleId rule = 0; rule < rules_.size(); ++rule) {
    grammar->rules.push_back({rules_[rule].start, order_[rule], nullable_[rule]});
    grammar->states[rules_[rule].end].accepts = true;
  }
  return grammar;
}

}  // namespace fedglm
