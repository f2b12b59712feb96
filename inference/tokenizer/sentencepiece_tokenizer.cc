// SentencePiece's BPE (Kudo and Richardson 2018): neighbours merge into the token with the highest score; characters
// that are no token fall back to bytes.
#include <algorithm>
#include <cstdio>
#include <queue>

#include "base/utf8.h"
#include "inference/tokenizer/families.h"

namespace fedglm {
namespace {

constexpr std::string_view kSpace = "\xe2\x96\x81";  // ▁

// The value of a hexadecimal digit, or -1.
int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

std::string EscapeSpaces(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size());
  for (const char c : text) {
    if (c == ' ') {
      escaped += kSpace;
    } else {
      escaped += c;
    }
  }
  return escaped;
}

std::string UnescapeSpaces(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size();) {
    if (text.substr(i, kSpace.size()) == kSpace) {
      result += ' ';
      i += kSpace.size();
    } else {
      result += text[i++];
    }
  }
  return result;
}

std::string ByteTokenName(unsigned char byte) {
  char name[8];
  std::snprintf(name, sizeof(name), "<0x%02X>", byte);
  return name;
}

std::optional<unsigned char> ByteOfTokenName(std::string_view name) {
  if (name.size() != 6 || name.substr(0, 3) != "<0x" || name.back() != '>') return std::nullopt;
  const int high = HexDigit(name[3]), low = HexDigit(name[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<unsigned char>(high * 16 + low);
}

std::string_view FirstCharacter(std::string_view text) {
  return text.substr(0, std::max<size_t>(1, Utf8CharacterSize(text)));
}

namespace {

class SentencePieceTokenizer : public VocabularyTokenizer {
 public:
  explicit SentencePieceTokenizer(Vocabulary vocabulary) : VocabularyTokenizer(std::move(vocabulary)) {}

  absl::Status ReadSpecialTokens(const GgufFile& file) {
    // Ids that SentencePiece gives unless told otherwise; old files leave them out.
    const auto token_or = [&](const char* key, Token usual) -> absl::StatusOr<std::optional<Token>> {
      const std::string full = std::string("tokenizer.ggml.") + key;
      if (file.FindValue(full) != nullptr) return vocabulary_.TokenAt(file, full);
      return vocabulary_.Contains(usual) ? std::optional<Token>(usual) : std::nullopt;
    };
    FEDGLM_ASSIGN_OR_RETURN(bos_, token_or("bos_token_id", 1));
    FEDGLM_ASSIGN_OR_RETURN(eos_, token_or("eos_token_id", 2));
    FEDGLM_ASSIGN_OR_RETURN(const std::optional<Token> unknown, token_or("unknown_token_id", 0));
    add_bos_ = file.BoolOr("tokenizer.ggml.add_bos_token", true) && bos_.has_value();
    add_eos_ = file.BoolOr("tokenizer.ggml.add_eos_token", false) && eos_.has_value();
    space_prefix_ = file.BoolOr("tokenizer.ggml.add_space_prefix", true);
    end_tokens_ = vocabulary_.end_tokens();
    if (eos_ && !EndsGeneration(*eos_)) {
      end_tokens_.insert(std::upper_bound(end_tokens_.begin(), end_tokens_.end(), *eos_), *eos_);
    }
    for (int i = 0; i < 256; ++i) {
      const unsigned char byte = static_cast<unsigned char>(i);
      std::optional<Token> token = vocabulary_.Find(ByteTokenName(byte));
      if (!token) token = vocabulary_.Find(std::string(1, static_cast<char>(byte)));
      byte_tokens_[byte] = token.value_or(unknown.value_or(kNone));
    }
    return absl::OkStatus();
  }

  std::vector<Token> Encode(std::string_view text, const EncodeOptions& options) const override {
    std::vector<Token> tokens;
    if (options.add_special && add_bos_) tokens.push_back(*bos_);
    bool after_special = options.space_prefix;  // the text's beginning counts as such
    for (const Fragment& fragment : vocabulary_.Partition(text, options)) {
      if (fragment.token) {
        tokens.push_back(*fragment.token);
      } else {
        const std::string escaped = EscapeSpaces(fragment.text);
        EncodeText(space_prefix_ && after_special ? std::string(kSpace) + escaped : escaped, tokens);
      }
      after_special = fragment.token.has_value();
    }
    if (options.add_special && add_eos_) tokens.push_back(*eos_);
    return tokens;
  }

 private:
  std::string Unescape(const std::string& text) const override { return UnescapeSpaces(text); }

  static constexpr Token kNone = -1;

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

  void EncodeText(const std::string& text, std::vector<Token>& tokens) const {
    if (text.empty()) return;
    std::vector<Symbol> symbols;
    for (size_t at = 0; at < text.size();) {
      const size_t length = FirstCharacter(std::string_view(text).substr(at)).size();
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
        for (size_t k = 0; k < symbol.size; ++k) {
          const Token byte = byte_tokens_[static_cast<unsigned char>(symbol.begin[k])];
          if (byte != kNone) tokens.push_back(byte);
        }
      }
    }
  }

  Token byte_tokens_[256];
};

}  // namespace

absl::StatusOr<std::shared_ptr<const Tokenizer>> MakeSentencePieceTokenizer(const GgufFile& file,
                                                                            Vocabulary vocabulary) {
  if (file.FindArray("tokenizer.ggml.scores") == nullptr) {
    return BadFileError(file.path().string() + ": tokenizer.ggml.scores is missing");
  }
  auto tokenizer = std::make_shared<SentencePieceTokenizer>(std::move(vocabulary));
  FEDGLM_RETURN_IF_ERROR(tokenizer->ReadSpecialTokens(file));
  return std::shared_ptr<const Tokenizer>(std::move(tokenizer));
}

}  // namespace fedglm
