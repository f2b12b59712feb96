// Pages of tokens that were computed before, for requests that begin with the same ones.
#pragma once

#include <compare>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "inference/cache/page_pool.h"
#include "inference/cache/sequence_cache.h"
#include "inference/gguf/token.h"

namespace fedglm {

// Whose keys and values these are. A prefix computed with one adapter is never used with another.
struct PrefixOwner {
  uint64_t adapter = 0;  // counts the adapters that were ever installed; 0: the base alone
  KvFormat format = KvFormat::kFloat16;
  auto operator<=>(const PrefixOwner&) const = default;
};

// A tree with a page at each node, reached by that page's tokens. Only a leaf's page may be less than full. A page in
// the tree is never written again: who goes on from the middle of one gets a copy. The least recently used pages that
// no sequence uses are evicted. Tokens are int32 ids, as the tokenizer's. Not thread-safe.
class PrefixTree {
 public:
  explicit PrefixTree(PagePool& pool) : pool_(pool) {}
  PrefixTree(const PrefixTree&) = delete;
  PrefixTree& operator=(const PrefixTree&) = delete;

  // Puts what the tree has of tokens[cache.length()…] into the cache; at least the last token is left to compute.
  // Returns how many positions that are. Does nothing in the middle of a page.
  int64_t Lookup(const PrefixOwner& owner, std::span<const Token> tokens, SequenceCache& cache);

  // Keeps the pages of tokens[0…cache.length()): the full ones, and the last too if `with_partial`, which the sequence
  // must not write any more. Where the tree has a page of the same tokens, the cache uses that one from now on.
  void Insert(const PrefixOwner& owner, std::span<const Token> tokens, SequenceCache& cache, bool with_partial);

  // Gives up the least recently used page that no sequence uses. False if there is none.
  bool EvictOne();
  // Gives up all that this adapter computed and no sequence uses.
  void Forget(uint64_t adapter);

  int64_t pages() const { return static_cast<int64_t>(recency_.size()); }

 private:
  struct TokensLess {
    using is_transparent = void;
    bool operator()(std::span<const Token> a, std::span<const Token> b) const;
  };
  struct Node;
  // In lexicographic order: the child that shares most with a text is beside the place where the text would be.
  using Children = std::map<std::vector<Token>, std::unique_ptr<Node>, TokensLess>;
  struct Node {
    Node* parent = nullptr;        // nullptr: a root
    Children* siblings = nullptr;  // where it is itself; nullptr: a root
    Children::iterator place;
    Children children;
    std::shared_ptr<KvPage> page;  // nullptr: a root
    std::list<Node*>::iterator recency;
  };

  Node& Root(const PrefixOwner& owner);
  Node& Add(Node& parent, std::span<const Token> tokens, std::shared_ptr<KvPage> page);
  void Remove(Node& node);
  // The node and those above it become the most recently used, its root last: a leaf is always older than its parents.
  void Touch(Node& node);
  void ForgetBelow(Node& node);

  PagePool& pool_;
  std::map<PrefixOwner, Node> roots_;
  std::list<Node*> recency_;  // least recently used first
};

}  // namespace fedglm
