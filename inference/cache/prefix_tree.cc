#include "inference/cache/prefix_tree.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace fedglm {
namespace {

int64_t CommonLength(std::span<const Token> a, std::span<const Token> b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

}  // namespace

bool PrefixTree::TokensLess::operator()(std::span<const Token> a, std::span<const Token> b) const {
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
}

PrefixTree::Node& PrefixTree::Root(const PrefixOwner& owner) { return roots_[owner]; }

PrefixTree::Node& PrefixTree::Add(Node& parent, std::span<const Token> tokens, std::shared_ptr<KvPage> page) {
  // A page that is only the beginning of this one serves no more.
  if (const auto after = parent.children.lower_bound(tokens); after != parent.children.begin()) {
    const auto before = std::prev(after);
    if (CommonLength(before->first, tokens) == static_cast<int64_t>(before->first.size())) Remove(*before->second);
  }
  auto node = std::make_unique<Node>();
  node->parent = &parent;
  node->siblings = &parent.children;
  node->page = std::move(page);
  node->recency = recency_.insert(recency_.end(), node.get());
  Node& added = *node;
  added.place = parent.children.emplace(std::vector<Token>(tokens.begin(), tokens.end()), std::move(node)).first;
  return added;
}

void PrefixTree::Remove(Node& node) {
  recency_.erase(node.recency);
  node.siblings->erase(node.place);
}

void PrefixTree::Touch(Node& node) {
  for (Node* n = &node; n->page != nullptr; n = n->parent) recency_.splice(recency_.end(), recency_, n->recency);
}

int64_t PrefixTree::Lookup(const PrefixOwner& owner, std::span<const Token> tokens, SequenceCache& cache) {
  if (cache.length() % kPageTokens != 0 || tokens.empty()) return 0;
  const auto root = roots_.find(owner);
  if (root == roots_.end()) return 0;
  const int64_t begin = cache.length(), limit = static_cast<int64_t>(tokens.size()) - 1;
  Node* node = &root->second;
  int64_t position = 0;
  for (; position + kPageTokens <= limit; position += kPageTokens) {
    const auto child = node->children.find(tokens.subspan(static_cast<size_t>(position), kPageTokens));
    if (child == node->children.end()) break;
    node = child->second.get();
    if (position >= begin) cache.Append(node->page, kPageTokens);
  }
  if (node->page != nullptr) Touch(*node);
  if (position < begin) return 0;  // the way to where the sequence is has been evicted

  // The rest may be the beginning of a page.
  const auto rest = tokens.subspan(static_cast<size_t>(position), static_cast<size_t>(limit - position));
  const auto after = node->children.lower_bound(rest);
  Node* nearest = nullptr;
  int64_t shared = 0;
  const auto consider = [&](Children::iterator child) {
    if (const int64_t common = CommonLength(rest, child->first); common > shared) {
      shared = common;
      nearest = child->second.get();
    }
  };
  if (after != node->children.end()) consider(after);
  if (after != node->children.begin()) consider(std::prev(after));
  if (nearest != nullptr) {
    const std::shared_ptr<KvPage> original = nearest->page;
    Touch(*nearest);
    if (absl::StatusOr<std::shared_ptr<KvPage>> copy = pool_.Allocate(owner.format); copy.ok()) {
      std::memcpy((*copy)->data(), original->data(), static_cast<size_t>(pool_.layout().PageBytes(owner.format)));
      cache.Append(*std::move(copy), shared);
    }
  }
  return cache.length() - begin;
}

void PrefixTree::Insert(const PrefixOwner& owner, std::span<const Token> tokens, SequenceCache& cache,
                        bool with_partial) {
  Node* node = &Root(owner);
  int64_t position = 0;
  for (; position + kPageTokens <= cache.length(); position += kPageTokens) {
    const auto page_tokens = tokens.subspan(static_cast<size_t>(position), kPageTokens);
    const int64_t index = position / kPageTokens;
    if (const auto known = node->children.find(page_tokens); known != node->children.end()) {
      node = known->second.get();
      if (node->page != cache.Page(index)) cache.Replace(index, node->page);
    } else {
      node = &Add(*node, page_tokens, cache.Page(index));
    }
  }
  const int64_t rest = cache.length() - position;
  if (with_partial && rest > 0) {
    const auto page_tokens = tokens.subspan(static_cast<size_t>(position), static_cast<size_t>(rest));
    const auto after = node->children.lower_bound(page_tokens);
    // A page that begins with these tokens serves as well.
    const bool covered = after != node->children.end() && CommonLength(page_tokens, after->first) == rest;
    node = covered ? after->second.get() : &Add(*node, page_tokens, cache.Page(position / kPageTokens));
  }
  if (node->page != nullptr) Touch(*node);
}

bool PrefixTree::EvictOne() {
  for (Node* node : recency_) {
    if (!node->children.empty() || node->page->in_use()) continue;
    Remove(*node);
    return true;
  }
  return false;
}

void PrefixTree::ForgetBelow(Node& node) {
  for (auto child = node.children.begin(); child != node.children.end();) {
    Node& below = *(child++)->second;
    ForgetBelow(below);
    if (below.children.empty() && !below.page->in_use()) Remove(below);
  }
}

void PrefixTree::Forget(uint64_t adapter) {
  for (auto root = roots_.begin(); root != roots_.end();) {
    if (root->first.adapter == adapter) ForgetBelow(root->second);
    root = root->second.children.empty() ? roots_.erase(root) : std::next(root);
  }
}

}  // namespace fedglm
