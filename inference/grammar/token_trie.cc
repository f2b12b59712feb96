#include "inference/grammar/token_trie.h"

#include <algorithm>

namespace fedglm {
namespace {

constexpr size_t kMaxPieceSize = 1024;  // longer ones (none is known) do not come

size_t CommonPrefix(const std::string& a, const std::string& b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

}  // namespace

TokenTrie::TokenTrie(const Tokenizer& tokenizer) : pieces_(static_cast<size_t>(tokenizer.size())) {
  for (Token token = 0; token < tokenizer.size(); ++token) {
    if (tokenizer.EndsGeneration(token)) {
      end_tokens_.push_back(token);
      continue;
    }
    if (tokenizer.IsControl(token)) continue;
    std::string piece = tokenizer.Piece(token);
    if (piece.empty() || piece.size() > kMaxPieceSize) continue;
    pieces_[static_cast<size_t>(token)] = std::move(piece);
    tokens_.push_back(token);
  }
  std::sort(tokens_.begin(), tokens_.end(), [this](Token a, Token b) {
    const int order = piece(a).compare(piece(b));
    return order != 0 ? order < 0 : a < b;
  });

  std::vector<uint32_t> open;  // the nodes from the root to the last one made
  const auto close_to = [&](size_t depth) {
    while (open.size() > depth) {
      nodes_[open.back()].subtree_end = static_cast<uint32_t>(nodes_.size());
      open.pop_back();
    }
  };
  for (uint32_t i = 0; i < tokens_.size(); ++i) {
    const std::string& bytes = piece(tokens_[i]);
    close_to(i == 0 ? 0 : CommonPrefix(piece(tokens_[i - 1]), bytes));
    while (open.size() < bytes.size()) {
      const size_t depth = open.size();
      open.push_back(static_cast<uint32_t>(nodes_.size()));
      nodes_.push_back({0, i, static_cast<uint16_t>(depth + 1), static_cast<uint8_t>(bytes[depth])});
    }
    max_depth_ = std::max(max_depth_, bytes.size());
  }
  close_to(0);
  nodes_.push_back({static_cast<uint32_t>(nodes_.size() + 1), static_cast<uint32_t>(tokens_.size()), 0, 0});
}

std::pair<uint32_t, uint32_t> TokenTrie::Below(std::string_view bytes) const {
  // By their order: first those before `bytes`, then those that begin with it.
  const auto first = std::partition_point(tokens_.begin(), tokens_.end(),
                                          [&](Token token) { return std::string_view(piece(token)) < bytes; });
  const auto last = std::partition_point(
      first, tokens_.end(), [&](Token token) { return std::string_view(piece(token)).starts_with(bytes); });
  return {static_cast<uint32_t>(first - tokens_.begin()), static_cast<uint32_t>(last - tokens_.begin())};
}

std::shared_ptr<const TokenTrie> BuildTokenTrie(const Tokenizer& tokenizer) {
  return std::make_shared<const TokenTrie>(tokenizer);
}

}  // namespace fedglm
