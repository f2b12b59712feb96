// The first step of byte-level BPE: text is cut into pre-tokens, and no merge reaches across a cut.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace fedglm {

// What tokenizer.ggml.pre stands for.
struct PretokenizerFacts {
  std::vector<std::string> patterns;  // applied one after the other: each cuts the pieces that the one before left
  bool ignore_merges = false;         // a pre-token that is in the vocabulary is taken whole
  bool add_bos = false;               // unless the file says otherwise
};

// BadFile for a name that is not known.
absl::StatusOr<PretokenizerFacts> FindPretokenizer(std::string_view name);

// Immutable; thread-safe.
class Pretokenizer {
 public:
  static absl::StatusOr<Pretokenizer> Make(const std::vector<std::string>& patterns);
  Pretokenizer(Pretokenizer&&) noexcept;
  Pretokenizer& operator=(Pretokenizer&&) noexcept;
  ~Pretokenizer();

  // The pieces of `text` in order; together they are all of it. Any bytes will do.
  std::vector<std::string_view> Split(std::string_view text) const;

 private:
  struct State;
  explicit Pretokenizer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fedglm
