// The tokens of a GGUF and what kind each is; shared by both tokenizer families. Private to this folder.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "inference/gguf/gguf_file.h"
#include "inference/tokenizer/tokenizer.h"

namespace fedglm {

// tokenizer.ggml.token_type
enum class TokenKind : uint8_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

// A stretch of text, or a token that was spelled in it.
struct Fragment {
  std::string_view text;
  std::optional<Token> token;
};

class Vocabulary {
 public:
  static absl::StatusOr<Vocabulary> FromGguf(const GgufFile& file);

  int64_t size() const { return static_cast<int64_t>(texts_.size()); }
  const std::string& text(Token token) const { return texts_[static_cast<size_t>(token)]; }
  TokenKind kind(Token token) const { return kinds_[static_cast<size_t>(token)]; }
  float score(Token token) const { return scores_.empty() ? 0.0f : scores_[static_cast<size_t>(token)]; }
  bool Contains(Token token) const { return token >= 0 && token < size(); }
  std::optional<Token> Find(std::string_view text) const;

  // An id from a metadata key, if it is there and in range.
  std::optional<Token> TokenAt(const GgufFile& file, const std::string& key) const;

  // EOS, EOT, EOM, and control tokens whose names say that a turn ends. Sorted.
  std::vector<Token> EndTokens(const GgufFile& file, std::optional<Token> eos) const;

  // Cuts out control tokens (if parse_special) and user-defined ones (if user_defined), longer names first.
  std::vector<Fragment> Partition(std::string_view text, const EncodeOptions& options) const;

 private:
  std::vector<std::string> texts_;
  std::vector<TokenKind> kinds_;
  std::vector<float> scores_;
  std::unordered_map<std::string_view, Token> index_;  // views into texts_
  std::vector<Token> special_;                         // longest text first
};

}  // namespace fedglm
