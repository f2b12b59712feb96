#include <algorithm>
#include <limits>
#include <unordered_map>

#include "inference/grammar/grammar.h"
#include "inference/grammar/recognizer.h"
#include "inference/grammar/token_trie.h"

namespace fedglm {
namespace {

constexpr size_t kMaxMasks = 64;  // kept, of some 20 KB each

class GrammarConstraint : public TokenConstraint {
 public:
  GrammarConstraint(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTrie> trie,
                    std::string_view begun)
      : recognizer_(std::move(grammar)), trie_(std::move(trie)), sets_at_depth_(trie_->max_depth() + 1) {
    Read(begun);
  }

  void Mask(std::span<float> logits) override {
    const TokenMask& allowed = FindMask();
    if (allowed.empty()) return;  // no token could follow, and the vocabulary has none that ends: nothing to choose by
    constexpr float kNever = -std::numeric_limits<float>::infinity();
    for (size_t word = 0; word * 64 < logits.size(); ++word) {
      const uint64_t bits = word < allowed.size() ? allowed[word] : 0;
      if (bits == ~uint64_t{0}) continue;
      const size_t end = std::min(logits.size(), word * 64 + 64);
      for (size_t i = word * 64; i < end; ++i) {
        if ((bits >> (i % 64) & 1) == 0) logits[i] = kNever;
      }
    }
  }

  void Accept(Token token) override {
    if (token < 0 || static_cast<size_t>(token) >= trie_->vocabulary()) return;
    Read(trie_->piece(token));
  }

 private:
  using TokenMask = std::vector<uint64_t>;  // one bit for each token; empty if none can be taken

  void Read(std::string_view bytes) {
    Recognizer::SetId set = recognizer_.current();
    for (const char byte : bytes) set = recognizer_.StepUnlimited(set, static_cast<uint8_t>(byte));
    if (recognizer_.Commit(set)) masks_.clear();
  }

  const TokenMask& FindMask() {
    const auto found = masks_.find(recognizer_.current());
    if (found != masks_.end()) return found->second;
    if (masks_.size() >= kMaxMasks) masks_.clear();
    return masks_[recognizer_.current()] = ComputeMask(recognizer_.current());
  }

  TokenMask ComputeMask(Recognizer::SetId current) {
    TokenMask allowed((trie_->vocabulary() + 63) / 64);
    const auto allow = [&](Token token) {
      allowed[static_cast<size_t>(token) / 64] |= uint64_t{1} << (static_cast<size_t>(token) % 64);
    };
    bool any = false;
    const std::vector<TokenTrie::Node>& nodes = trie_->nodes();
    sets_at_depth_[0] = current;
    for (size_t i = 0; i + 1 < nodes.size();) {
      const TokenTrie::Node& node = nodes[i];
      const Recognizer::SetId set = recognizer_.Step(sets_at_depth_[node.depth - 1u], node.byte);
      if (set == Recognizer::kDead) {
        i = node.subtree_end;
        continue;
      }
      sets_at_depth_[node.depth] = set;
      ++i;
      for (uint32_t t = node.first_token; t < nodes[i].first_token; ++t) {
        allow(trie_->tokens()[t]);
        any = true;
      }
    }
    if (recognizer_.IsComplete(current) || !any) {
      for (const Token token : trie_->end_tokens()) allow(token);
      any = any || !trie_->end_tokens().empty();
    }
    return any ? allowed : TokenMask();
  }

  Recognizer recognizer_;
  const std::shared_ptr<const TokenTrie> trie_;
  std::vector<Recognizer::SetId> sets_at_depth_;  // ComputeMask's scratch: after so many bytes of the current branch
  std::unordered_map<Recognizer::SetId, TokenMask> masks_;
};

}  // namespace

std::shared_ptr<TokenConstraint> MakeConstraint(std::shared_ptr<const Grammar> grammar,
                                                std::shared_ptr<const TokenTrie> trie, std::string_view begun) {
  return std::make_shared<GrammarConstraint>(std::move(grammar), std::move(trie), begun);
}

bool Matches(const Grammar& grammar, std::string_view text) {
  // The recognizer shares ownership of grammars; this one outlives it.
  Recognizer recognizer(std::shared_ptr<const Grammar>(std::shared_ptr<const Grammar>(), &grammar));
  for (const char byte : text) {
    recognizer.Commit(recognizer.StepUnlimited(recognizer.current(), static_cast<uint8_t>(byte)));
    if (recognizer.current() == Recognizer::kDead) return false;
  }
  return recognizer.IsComplete(recognizer.current());
}

}  // namespace fedglm
