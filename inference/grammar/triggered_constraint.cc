// A grammar that waits for the text to begin in a certain way: llama.cpp's lazy grammars, with the triggers of GLM-4's
// calls.
#include <algorithm>
#include <limits>

#include "inference/grammar/grammar.h"
#include "inference/grammar/recognizer.h"
#include "inference/grammar/token_trie.h"

namespace fedglm {
namespace {

class TriggeredConstraint : public TokenConstraint {
 public:
  TriggeredConstraint(std::vector<GrammarTrigger> triggers, std::shared_ptr<const TokenTrie> trie)
      : waiting_(std::move(triggers)), trie_(std::move(trie)) {}

  void Mask(std::span<float> logits) override {
    if (triggered_ != nullptr) return triggered_->Mask(logits);
    for (const GrammarTrigger& trigger : waiting_) MaskWrongBeginnings(trigger, logits);
  }

  void Accept(Token token) override {
    if (triggered_ != nullptr) return triggered_->Accept(token);
    if (waiting_.empty() || token < 0 || static_cast<size_t>(token) >= trie_->vocabulary()) return;
    text_ += trie_->piece(token);
    for (const GrammarTrigger& trigger : waiting_) {
      if (!text_.starts_with(trigger.text)) continue;
      triggered_ = MakeConstraint(trigger.grammar, trie_, text_.substr(trigger.text.size()));
      break;
    }
    // What has begun otherwise stays free.
    std::erase_if(waiting_, [&](const GrammarTrigger& trigger) { return !trigger.text.starts_with(text_); });
  }

 private:
  // A token may end the trigger and go on: then what follows in it must already be of the grammar.
  void MaskWrongBeginnings(const GrammarTrigger& trigger, std::span<float> logits) const {
    const auto [first, last] = trie_->Below(std::string_view(trigger.text).substr(text_.size()));
    if (first == last) return;
    Recognizer recognizer(trigger.grammar);
    for (uint32_t i = first; i < last; ++i) {
      const Token token = trie_->tokens()[i];
      const std::string_view more = std::string_view(trie_->piece(token)).substr(trigger.text.size() - text_.size());
      Recognizer::SetId set = recognizer.current();
      for (const char byte : more) set = recognizer.Step(set, static_cast<uint8_t>(byte));
      if (set == Recognizer::kDead && static_cast<size_t>(token) < logits.size()) {
        logits[static_cast<size_t>(token)] = -std::numeric_limits<float>::infinity();
      }
    }
  }

  std::vector<GrammarTrigger> waiting_;  // those that the text so far begins
  const std::shared_ptr<const TokenTrie> trie_;
  std::string text_;  // while it is not decided
  std::shared_ptr<TokenConstraint> triggered_;
};

}  // namespace

std::shared_ptr<TokenConstraint> MakeTriggeredConstraint(std::vector<GrammarTrigger> triggers,
                                                         std::shared_ptr<const TokenTrie> trie) {
  return std::make_shared<TriggeredConstraint>(std::move(triggers), std::move(trie));
}

}  // namespace fedglm
