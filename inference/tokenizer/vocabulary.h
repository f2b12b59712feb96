// The tokens of a GGUF and what kind each is; shared by both tokenizer families. Private to this folder.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
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
  // BadFile if there are no tokens, they are no UTF-8, or the arrays beside them do not fit.
  static absl::StatusOr<Vocabulary> FromGguf(const GgufFile& file);

  int64_t size() const { return static_cast<int64_t>(texts_.size()); }
  const std::string& text(Token token) const { return texts_[static_cast<size_t>(token)]; }
  TokenKind kind(Token token) const { return kinds_[static_cast<size_t>(token)]; }
  float score(Token token) const { return scores_.empty() ? 0.0f : scores_[static_cast<size_t>(token)]; }
  bool Contains(Token token) const { return token >= 0 && token < size(); }
  bool IsControl(Token token) const { return Contains(token) && kind(token) == TokenKind::kControl; }
  std::optional<Token> Find(std::string_view text) const;

  // An id from a metadata key; nothing if it is not there. BadFile if it is not in the vocabulary.
  absl::StatusOr<std::optional<Token>> TokenAt(const GgufFile& file, const std::string& key) const;

  // EOS, EOT, EOM, and control tokens whose names say that a turn ends. Sorted.
  const std::vector<Token>& end_tokens() const { return end_tokens_; }

  // Cuts out control tokens (if parse_special) and user-defined ones, longer names first.
  std::vector<Fragment> Partition(std::string_view text, const EncodeOptions& options) const;

 private:
  // Special tokens whose names have the same length.
  struct SpecialGroup {
    size_t length = 0;
    bool has_user_defined = false;
    std::vector<uint64_t> starts;  // a bit for each pair of first bytes that occurs
    std::unordered_map<std::string_view, Token> tokens;
  };

  void SetKind(Token token, TokenKind kind) { kinds_[static_cast<size_t>(token)] = kind; }
  std::optional<Token> MarkControl(std::string_view name);
  absl::Status MarkTurnTokens(const GgufFile& file);
  void GroupSpecialTokens();
  void MarkStripping(const GgufFile& file);
  bool IsCutOut(Token token, const EncodeOptions& options) const;
  void CutOut(const SpecialGroup& group, const EncodeOptions& options, std::string_view text,
              std::vector<Fragment>& out) const;

  std::vector<std::string> texts_;
  std::vector<TokenKind> kinds_;
  std::vector<float> scores_;
  std::unordered_map<std::string_view, Token> index_;  // views into texts_
  size_t longest_ = 0;
  std::vector<Token> end_tokens_;
  std::vector<SpecialGroup> special_;                       // longest first
  std::unordered_set<Token> strips_before_, strips_after_;  // these swallow the white space beside them
};

}  // namespace fedglm
