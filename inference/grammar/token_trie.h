// A vocabulary in the order of its tokens' bytes. Private to this folder.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "inference/grammar/grammar.h"

namespace fedglm {

// Immutable; thread-safe. Tokens without bytes (control tokens) are not there.
class TokenTrie {
 public:
  explicit TokenTrie(const Tokenizer& tokenizer);

  // Nodes lie in depth-first order: the one after a node is its first child, or where its subtree ends.
  struct Node {
    uint32_t subtree_end;  // the first node that is not below it
    uint32_t first_token;  // in `tokens`; those of this node end where the next node's begin
    uint16_t depth;        // bytes read with this node's
    uint8_t byte;
  };
  const std::vector<Node>& nodes() const { return nodes_; }  // and one more, which ends the last one's tokens
  const std::vector<Token>& tokens() const { return tokens_; }
  // The tokens that begin with `bytes`, as their places in tokens(): first, and behind the last.
  std::pair<uint32_t, uint32_t> Below(std::string_view bytes) const;
  const std::vector<Token>& end_tokens() const { return end_tokens_; }  // of generation
  size_t vocabulary() const { return pieces_.size(); }
  size_t max_depth() const { return max_depth_; }
  // A token's bytes; empty for one that is in no text.
  const std::string& piece(Token token) const { return pieces_[static_cast<size_t>(token)]; }

 private:
  std::vector<std::string> pieces_;
  std::vector<Node> nodes_;
  std::vector<Token> tokens_, end_tokens_;
  size_t max_depth_ = 0;
};

}  // namespace fedglm
