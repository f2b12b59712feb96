// SentencePiece's BPE (Kudo and Richardson 2018): neighbours merge into the token with the highest score; characters that
// are no token fall back to bytes.
#include <cstdio>
#include <queue>

#include "inference/tokenizer/families.h"

namespace fedglm {
namespace {

constexpr std::string_view kSpace = "\xe2\x96\x81";  // ▁

std::string EscapeSpaces(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == ' ') escaped += kSpace;
    else escaped += c;
  }
  return escaped;
}

size_t CharacterLength(unsigned char lead) {
  static constexpr size_t kLengths[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 4};
  return kLengths[lead >> 4];
}

class SentencePieceTokenizer : public Tokenizer {
 public:
  SentencePieceTokenizer(const GgufFile& file, Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {
    bos_ = vocabulary_.TokenAt(file, "tokenizer.ggml.bos_token_id");
    eos_ = vocabulary_.TokenAt(file, "tokenizer.ggml.eos_token_id");
    unknown_ = vocabulary_.TokenAt(file, "tokenizer.ggml.unknown_token_id").value_or(0);
    add_bos_ = file.BoolOr("tokenizer.ggml.add_bos_token", true) && bos_.has_value();
    add_eos_ = file.BoolOr("tokenizer.ggml.add_eos_token", false) && eos_.has_value();
    add_space_prefix_ = file.BoolOr("tokenizer.ggml.add_space_prefix", true);
    end_tokens_ = vocabulary_.EndTokens(file, eos_);
    for (int byte = 0; byte < 256; ++byte) {
      char name[8];
      std::snprintf(name, sizeof(name), "<0x%02X>", byte);
      byte_tokens_[byte] = vocabulary_.Find(name).value_or(
          vocabulary_.Find(std::string(1, static_cast<char>(byte))).value_or(unknown_));
    }
  }

  std::vector<Token> Encode(std::string_view text, const EncodeOptions& options) const override {
    std::vector<Token> tokens;
    if (options.add_special && add_bos_) tokens.push_back(*bos_);
    bool after_special = true;  // the text's beginning counts as such
    for (const Fragment& fragment : vocabulary_.Partition(text, options)) {
      if (fragment.token) {
        tokens.push_back(*fragment.token);
      } else {
        const bool prefix = add_space_prefix_ && after_special;
        EncodeText(EscapeSpaces((prefix ? " " : "") + std::string(fragment.text)), tokens);
      }
      after_special = fragment.token.has_value();
    }
    if (options.add_special && add_eos_) tokens.push_back(*eos_);
    return tokens;
  }

  std::string Piece(Token token, bool render_special) const override {
    if (!vocabulary_.Contains(token)) return "";
    const std::string& text = vocabulary_.text(token);
    switch (vocabulary_.kind(token)) {
      case TokenKind::kControl:
      case TokenKind::kUnknown:
        return render_special ? text : "";
      case TokenKind::kByte: {
        unsigned byte = 0;
        if (std::sscanf(text.c_str(), "<0x%2X>", &byte) == 1) return std::string(1, static_cast<char>(byte));
        return text;
      }
      default:
        return UnescapeSpaces(text);
    }
  }

  int64_t size() const override { return vocabulary_.size(); }
  bool IsControl(Token token) const override {
    return vocabulary_.Contains(token) && vocabulary_.kind(token) == TokenKind::kControl;
  }
  std::optional<Token> Find(std::string_view text) const override { return vocabulary_.Find(text); }

 private:
  struct Symbol {
    const char* begin;
    size_t size;  // 0: merged away
    int previous, next;
  };
  // Higher score first; of equal scores the one further left.
  struct Candidate {
    float score;
    int left;
    size_t size;  // of both together, to see whether they are still what they were
    bool operator<(const Candidate& other) const {
      return score != other.score ? score < other.score : left > other.left;
    }
  };

  static std::string UnescapeSpaces(const std::string& text) {
    std::string result;
    for (size_t i = 0; i < text.size();) {
      if (text.compare(i, kSpace.size(), kSpace) == 0) {
        result += ' ';
        i += kSpace.size();
      } else {
        result += text[i++];
      }
    }
    return result;
  }

  void EncodeText(const std::string& text, std::vector<Token>& tokens) const {
    if (text.empty()) return;
    std::vector<Symbol> symbols;
    for (size_t at = 0; at < text.size();) {
      const size_t length = std::min(text.size() - at, CharacterLength(static_cast<unsigned char>(text[at])));
      const int index = static_cast<int>(symbols.size());
      symbols.push_back({text.data() + at, length, index - 1, index + 1});
      at += length;
    }
    symbols.back().next = -1;

    std::priority_queue<Candidate> queue;
    const auto consider = [&](int left) {
      const int right = left < 0 ? -1 : symbols[static_cast<size_t>(left)].next;
      if (right < 0) return;
      const Symbol& a = symbols[static_cast<size_t>(left)];
      const size_t size = a.size + symbols[static_cast<size_t>(right)].size;
      if (const auto token = vocabulary_.Find({a.begin, size})) queue.push({vocabulary_.score(*token), left, size});
    };
    for (size_t i = 0; i + 1 < symbols.size(); ++i) consider(static_cast<int>(i));
    while (!queue.empty()) {
      const Candidate best = queue.top();
      queue.pop();
      Symbol& left = symbols[static_cast<size_t>(best.left)];
      if (left.size == 0 || left.next < 0) continue;
      Symbol& right = symbols[static_cast<size_t>(left.next)];
      if (left.size + right.size != best.size) continue;
      left.size = best.size;
      right.size = 0;
      left.next = right.next;
      if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = best.left;
      consider(left.previous);
      consider(best.left);
    }
    for (int i = 0; i >= 0; i = symbols[static_cast<size_t>(i)].next) {
      const Symbol& symbol = symbols[static_cast<size_t>(i)];
      if (const auto token = vocabulary_.Find({symbol.begin, symbol.size})) {
        tokens.push_back(*token);
      } else {
        for (size_t k = 0; k < symbol.size; ++k) tokens.push_back(byte_tokens_[static_cast<unsigned char>(symbol.begin[k])]);
      }
    }
  }

  Vocabulary vocabulary_;
  Token unknown_ = 0;
  bool add_space_prefix_ = true;
  Token byte_tokens_[256];
};

}  // namespace

absl::StatusOr<std::shared_ptr<const Tokenizer>> MakeSentencePieceTokenizer(const GgufFile& file, Vocabulary vocabulary) {
  if (file.FindArray("tokenizer.ggml.scores") == nullptr) {
    return BadFileError(file.path().string() + ": tokenizer.ggml.scores is missing");
  }
  return std::shared_ptr<const Tokenizer>(std::make_shared<SentencePieceTokenizer>(file, std::move(vocabulary)));
}

}  // namespace fedglm
