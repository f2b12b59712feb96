#include "training/data/bpe_trainer.h"

#include <algorithm>
#include <map>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include "inference/gguf/token.h"
#include "inference/tokenizer/byte_encoding.h"
#include "inference/tokenizer/pretokenizer.h"

namespace fedglm {
namespace {

using Pair = std::pair<Token, Token>;

struct HashPair {
  size_t operator()(const Pair& pair) const {
    return std::hash<uint64_t>()(static_cast<uint64_t>(static_cast<uint32_t>(pair.first)) << 32 |
                                 static_cast<uint32_t>(pair.second));
  }
};

struct Word {
  std::vector<Token> pieces;
  int64_t count = 0;
};

// Counts of neighbouring pairs over all words, kept up to date merge by merge.
class MergeLearner {
 public:
  explicit MergeLearner(std::vector<Word> words) : words_(std::move(words)) {
    for (size_t w = 0; w < words_.size(); ++w) {
      const std::vector<Token>& pieces = words_[w].pieces;
      for (size_t i = 0; i + 1 < pieces.size(); ++i) Change({pieces[i], pieces[i + 1]}, words_[w].count, w);
    }
    for (const auto& [pair, count] : counts_) queue_.push({count, pair});
  }

  // The most frequent pair; false if none occurs twice.
  bool Best(Pair& best) {
    while (!queue_.empty()) {
      const Candidate top = queue_.top();
      queue_.pop();
      const int64_t count = counts_[top.pair];
      if (count < 2) continue;
      if (count != top.count) {  // an old entry: put it where it belongs now
        queue_.push({count, top.pair});
        continue;
      }
      best = top.pair;
      return true;
    }
    return false;
  }

  void Merge(const Pair& pair, Token merged) {
    const std::unordered_set<size_t> affected = std::move(where_[pair]);
    std::unordered_set<Pair, HashPair> changed;
    for (const size_t w : affected) MergeIn(words_[w], w, pair, merged, changed);
    counts_.erase(pair);
    where_.erase(pair);
    for (const Pair& other : changed) {
      if (other != pair) queue_.push({counts_[other], other});
    }
  }

 private:
  struct Candidate {
    int64_t count;
    Pair pair;
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };

  void Change(const Pair& pair, int64_t by, size_t word) {
    counts_[pair] += by;
    if (by > 0) where_[pair].insert(word);
  }

  void MergeIn(Word& word, size_t index, const Pair& pair, Token merged, std::unordered_set<Pair, HashPair>& changed) {
    const auto count_all = [&](int64_t by) {
      for (size_t i = 0; i + 1 < word.pieces.size(); ++i) {
        const Pair neighbour = {word.pieces[i], word.pieces[i + 1]};
        Change(neighbour, by, index);
        changed.insert(neighbour);
      }
    };
    count_all(-word.count);
    std::vector<Token> pieces;
    for (size_t i = 0; i < word.pieces.size(); ++i) {
      if (i + 1 < word.pieces.size() && word.pieces[i] == pair.first && word.pieces[i + 1] == pair.second) {
        pieces.push_back(merged);
        ++i;
      } else {
        pieces.push_back(word.pieces[i]);
      }
    }
    word.pieces = std::move(pieces);
    count_all(word.count);
  }

  std::vector<Word> words_;
  std::unordered_map<Pair, int64_t, HashPair> counts_;
  std::unordered_map<Pair, std::unordered_set<size_t>, HashPair> where_;
  std::priority_queue<Candidate> queue_;
};

absl::StatusOr<std::vector<Word>> CountWords(const std::vector<std::string>& texts, const std::string& pretokenizer) {
  FEDGLM_ASSIGN_OR_RETURN(const PretokenizerFacts facts, FindPretokenizer(pretokenizer));
  FEDGLM_ASSIGN_OR_RETURN(const Pretokenizer splitter, Pretokenizer::Make(facts.patterns));
  std::map<std::string, int64_t, std::less<>> counts;  // sorted: the same order everywhere
  for (const std::string& text : texts) {
    for (const std::string_view piece : splitter.Split(text)) ++counts[std::string(piece)];
  }
  std::vector<Word> words;
  for (const auto& [text, count] : counts) {
    Word word;
    for (const char byte : text) word.pieces.push_back(static_cast<unsigned char>(byte));
    word.count = count;
    words.push_back(std::move(word));
  }
  return words;
}

}  // namespace

absl::StatusOr<BpeVocabulary> TrainBpe(const std::vector<std::string>& texts, int64_t size,
                                       const std::string& pretokenizer) {
  if (size < 256) return UsageError("a byte-level vocabulary has at least 256 tokens");
  FEDGLM_ASSIGN_OR_RETURN(std::vector<Word> words, CountWords(texts, pretokenizer));
  BpeVocabulary vocabulary;
  for (int byte = 0; byte < 256; ++byte) vocabulary.tokens.push_back(ByteCharacter(static_cast<unsigned char>(byte)));
  MergeLearner learner(std::move(words));
  // Two pairs may spell the same token; it gets one id, and the later merge leads to it as well.
  std::unordered_map<std::string, Token> ids;
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) ids[vocabulary.tokens[i]] = static_cast<Token>(i);
  Pair best;
  while (static_cast<int64_t>(vocabulary.tokens.size()) < size && learner.Best(best)) {
    const std::string& left = vocabulary.tokens[static_cast<size_t>(best.first)];
    const std::string& right = vocabulary.tokens[static_cast<size_t>(best.second)];
    vocabulary.merges.push_back(left + " " + right);
    const auto [found, added] = ids.emplace(left + right, static_cast<Token>(vocabulary.tokens.size()));
    const Token merged = found->second;
    if (added) vocabulary.tokens.push_back(found->first);
    learner.Merge(best, merged);
  }
  return vocabulary;
}

}  // namespace fedglm
