// The first step of byte-pair encoding: text is cut into pre-tokens, and no merge reaches across a cut.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace fedglm {

// How a match of a pattern is cut. Threes are counted from the number's right end: 1 234 567.
enum class MatchCut {
  kAround,        // the match is a piece
  kIntoThrees,    // the match is a piece, and cut again
  kBeforeThrees,  // only where three, six, … digits are left; what is in front of them stays with what came before
};

struct CutPattern {
  CutPattern(std::string pattern, MatchCut cut = MatchCut::kAround) : regex(std::move(pattern)), match_cut(cut) {}
  CutPattern(const char* pattern, MatchCut cut = MatchCut::kAround) : regex(pattern), match_cut(cut) {}
  std::string regex;
  MatchCut match_cut;
};

// What tokenizer.ggml.pre stands for.
struct PretokenizerFacts {
  std::vector<CutPattern> patterns;  // applied one after the other: each cuts the pieces that the one before left
  bool ignore_merges = false;        // a pre-token that is in the vocabulary is taken whole
  bool add_bos = false;              // unless the file says otherwise
  // SentencePiece's conventions over BPE merges: ▁ for spaces, characters instead of bytes, <0x0A> for those unknown.
  bool characters = false;
  bool gemma = false;  // newlines that are a token together are taken whole, and BOS is always added
};

// BadFile for a name that is not known.
absl::StatusOr<PretokenizerFacts> FindPretokenizer(std::string_view name);

// Immutable; thread-safe.
class Pretokenizer {
 public:
  static absl::StatusOr<Pretokenizer> Make(const std::vector<CutPattern>& patterns);
  Pretokenizer(Pretokenizer&&) noexcept;
  Pretokenizer& operator=(Pretokenizer&&) noexcept;
  ~Pretokenizer();

  // The pieces of `text` in order; together they are all of it. Any bytes will do: those that are no UTF-8 become
  // pieces of their own. Linear in the size of the text.
  std::vector<std::string_view> Split(std::string_view text) const;

 private:
  struct State;
  explicit Pretokenizer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fedglm
