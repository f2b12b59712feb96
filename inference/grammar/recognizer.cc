#include "inference/grammar/recognizer.h"

#include <algorithm>
#include <queue>

namespace fedglm {
namespace {

// An ambiguous grammar could have a text stand at any number of positions. Beyond this many, some are forgotten: the
// answer has fewer ways to go on, and all of them are right.
constexpr size_t kMaxPositions = 16384;
constexpr size_t kMaxReturns = 16384;

// Between two commits (one token). Ordinary grammars need a hundredth of it; it is a tenth of a second or two.
constexpr size_t kMaxWork = 4'000'000;
constexpr size_t kMaxNewSets = 8192;

// What is kept before it is computed anew.
constexpr size_t kMaxSets = 8192;
constexpr size_t kMaxStored = 1'000'000;

}  // namespace

size_t Recognizer::Hash::operator()(const Position& position) const {
  const uint64_t both = uint64_t{position.state} << 32 | position.stack;
  return static_cast<size_t>((both ^ both >> 29) * 0x9E3779B97F4A7C15u >> 8);
}

size_t Recognizer::Hash::operator()(const std::vector<Return>& returns) const {
  size_t hash = returns.size();
  for (const Return& one : returns) hash = (hash ^ (*this)(one)) * 0x9E3779B97F4A7C15u + (hash >> 31);
  return hash;
}

Recognizer::Recognizer(std::shared_ptr<const Grammar> grammar) : grammar_(std::move(grammar)) {
  pending_.resize(grammar_->rules.size());
  Clear();
  current_ = Close({{grammar_->rules[grammar_->root].start, InternStack({{kTextEnds, 0}})}});
  kept_ = stored_;
  work_ = new_sets_ = 0;
}

void Recognizer::Clear() {
  stacks_.clear();
  stack_ids_.clear();
  sets_.clear();
  set_ids_.clear();
  transitions_.clear();
  stored_ = 0;
  InternSet({});  // kDead
  std::fill(transitions_.begin(), transitions_.end(), kDead);
}

Recognizer::SetId Recognizer::InternSet(Set set) {
  const auto [found, is_new] = set_ids_.try_emplace(std::move(set), static_cast<SetId>(sets_.size()));
  if (is_new) {
    stored_ += found->first.positions.size();
    sets_.push_back(&found->first);
    transitions_.resize(transitions_.size() + grammar_->classes, kUnknown);
    ++new_sets_;
  }
  return found->second;
}

Recognizer::StackId Recognizer::InternStack(std::vector<Return> returns) {
  std::sort(returns.begin(), returns.end());
  returns.erase(std::unique(returns.begin(), returns.end()), returns.end());
  if (returns.size() > kMaxReturns) returns.resize(kMaxReturns);
  const auto [found, is_new] = stack_ids_.try_emplace(std::move(returns), static_cast<StackId>(stacks_.size()));
  if (is_new) {
    stored_ += found->first.size();
    stacks_.push_back(&found->first);
  }
  return found->second;
}

Recognizer::SetId Recognizer::StepUnlimited(SetId set, uint8_t byte) {
  const SetId next = transitions_[size_t{set} * grammar_->classes + grammar_->class_of_byte[byte]];
  return next != kUnknown ? next : ComputeStep(set, byte, /*limited=*/false);
}

Recognizer::SetId Recognizer::ComputeStep(SetId set, uint8_t byte, bool limited) {
  if (limited && (work_ > kMaxWork || new_sets_ > kMaxNewSets)) return kDead;
  const uint8_t byte_class = grammar_->class_of_byte[byte];
  std::vector<Position> open;
  for (const Position& position : sets_[set]->positions) {
    const Grammar::State& state = grammar_->states[position.state];
    for (uint32_t i = 0; i < state.moves; ++i) {
      const Move& move = grammar_->moves[state.first_move + i];
      if (move.kind == Move::Kind::kByte && move.low <= byte_class && byte_class <= move.high) {
        open.push_back({move.to, position.stack});
      }
    }
    work_ += state.moves;
  }
  const SetId next = Close(std::move(open));
  transitions_[size_t{set} * grammar_->classes + byte_class] = next;
  return next;
}

// All positions that are reached from those in `open` without a byte.
//
// A rule that is called gets one stack, with the returns of all its callers. It must know all of them before it is
// entered: rules are entered in the order of Grammar::Rule::order. No position below a rule entered here adds a caller
// to an earlier one, because what such a rule, empty, would return to has been visited when it was called.
Recognizer::SetId Recognizer::Close(std::vector<Position> open) {
  visited_.clear();
  passed_on_.clear();
  Set closed;
  const auto later = [&](RuleId a, RuleId b) { return grammar_->rules[a].order > grammar_->rules[b].order; };
  std::priority_queue<RuleId, std::vector<RuleId>, decltype(later)> called(later);
  for (;;) {
    while (!open.empty()) {
      const Position position = open.back();
      open.pop_back();
      if (visited_.size() >= kMaxPositions || !visited_.insert(position).second) continue;
      const Grammar::State& state = grammar_->states[position.state];
      work_ += 1 + state.moves;
      if (state.reads) closed.positions.push_back(position);
      if (state.accepts && passed_on_.insert({kTextEnds, position.stack}).second) {
        const std::vector<Return>& returns = *stacks_[position.stack];
        work_ += returns.size();
        for (const Return& to : returns) {
          if (to.state == kTextEnds) {
            closed.complete = true;
          } else {
            open.push_back(to);
          }
        }
      }
      for (uint32_t i = 0; i < state.moves; ++i) {
        const Move& move = grammar_->moves[state.first_move + i];
        if (move.kind == Move::Kind::kByte) continue;
        if (move.kind == Move::Kind::kEpsilon || grammar_->rules[move.rule].nullable) {
          open.push_back({move.to, position.stack});
        }
        if (move.kind == Move::Kind::kEpsilon) continue;
        std::vector<Return>& returns = pending_[move.rule];
        if (returns.size() >= kMaxReturns) continue;
        const Grammar::State& after = grammar_->states[move.to];
        if (after.accepts && after.moves == 0) {
          // A call at a rule's end returns to where the rule does: a list written as recursion needs no growing stack.
          if (!passed_on_.insert({move.rule, position.stack}).second) continue;
          const std::vector<Return>& outer = *stacks_[position.stack];
          if (returns.empty()) called.push(move.rule);
          returns.insert(returns.end(), outer.begin(), outer.end());
          work_ += outer.size();
        } else {
          if (returns.empty()) called.push(move.rule);
          returns.push_back({move.to, position.stack});
        }
      }
    }
    if (called.empty()) break;
    const RuleId rule = called.top();
    called.pop();
    const StackId stack = InternStack(std::exchange(pending_[rule], {}));
    open.push_back({grammar_->rules[rule].start, stack});
  }
  std::sort(closed.positions.begin(), closed.positions.end());
  return InternSet(std::move(closed));
}

bool Recognizer::Commit(SetId set) {
  current_ = set;
  work_ = 0;
  new_sets_ = 0;
  if (sets_.size() <= kMaxSets && stored_ <= kMaxStored + 2 * kept_) return false;
  const std::vector<const std::vector<Return>*> stacks = stacks_;
  const auto owner = std::move(stack_ids_);
  Set kept = *sets_[current_];
  Clear();
  std::vector<StackId> copies(stacks.size(), UINT32_MAX);
  for (Position& position : kept.positions) position.stack = CopyStack(stacks, position.stack, copies);
  std::sort(kept.positions.begin(), kept.positions.end());
  current_ = InternSet(std::move(kept));
  kept_ = stored_;
  new_sets_ = 0;
  return true;
}

// Interns one of the old `stacks` anew, after those below it, without recursion: a stack may be as deep as the text.
Recognizer::StackId Recognizer::CopyStack(const std::vector<const std::vector<Return>*>& stacks, StackId stack,
                                          std::vector<StackId>& copies) {
  std::vector<StackId> open = {stack};
  while (!open.empty()) {
    const StackId top = open.back();
    const size_t before = open.size();
    for (const Return& to : *stacks[top]) {
      if (to.state != kTextEnds && copies[to.stack] == UINT32_MAX) open.push_back(to.stack);
    }
    if (open.size() > before) continue;
    open.pop_back();
    if (copies[top] != UINT32_MAX) continue;
    std::vector<Return> returns = *stacks[top];
    for (Return& to : returns) {
      if (to.state != kTextEnds) to.stack = copies[to.stack];
    }
    copies[top] = InternStack(std::move(returns));
  }
  return copies[stack];
}

}  // namespace fedglm
