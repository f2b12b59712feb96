// Byte-level byte-pair encoding (Sennrich et al. 2016; GPT-2's form over bytes).
#include <queue>
#include <unordered_map>

#include "inference/tokenizer/byte_encoding.h"
#include "inference/tokenizer/families.h"
#include "inference/tokenizer/pretokenizer.h"

namespace fedglm {
namespace {

struct Merge {
  int32_t rank;
  Token result;
};

uint64_t PairKey(Token left, Token right) {
  return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
}

class BpeTokenizer : public Tokenizer {
 public:
  BpeTokenizer(Vocabulary vocabulary, Pretokenizer pretokenizer, bool ignore_merges)
      : vocabulary_(std::move(vocabulary)), pretokenizer_(std::move(pretokenizer)), ignore_merges_(ignore_merges) {
    for (int byte = 0; byte < 256; ++byte) {
      byte_tokens_[byte] = vocabulary_.Find(ByteCharacter(static_cast<unsigned char>(byte))).value_or(-1);
    }
  }

  absl::Status ReadMerges(const GgufFile& file) {
    const GgufArray* const merges = file.FindArray("tokenizer.ggml.merges");
    if (merges == nullptr) return BadFileError(file.path().string() + ": tokenizer.ggml.merges is missing");
    merges_.reserve(merges->strings.size());
    for (size_t rank = 0; rank < merges->strings.size(); ++rank) {
      const std::string_view merge = merges->strings[rank];
      const size_t space = merge.find(' ', 1);
      if (space == std::string_view::npos || space + 1 >= merge.size()) {
        return BadFileError(file.path().string() + ": merge " + std::to_string(rank) + " is not a pair");
      }
      const std::string_view left_text = merge.substr(0, space), right_text = merge.substr(space + 1);
      const auto left = vocabulary_.Find(left_text), right = vocabulary_.Find(right_text);
      const auto result = vocabulary_.Find(std::string(left_text) + std::string(right_text));
      // Some published vocabularies keep merges of tokens they have dropped: such a merge can never apply.
      if (left && right && result) merges_.emplace(PairKey(*left, *right), Merge{static_cast<int32_t>(rank), *result});
    }
    return absl::OkStatus();
  }

  void ReadSpecialTokens(const GgufFile& file, bool add_bos_by_default) {
    bos_ = vocabulary_.TokenAt(file, "tokenizer.ggml.bos_token_id");
    eos_ = vocabulary_.TokenAt(file, "tokenizer.ggml.eos_token_id");
    add_bos_ = file.BoolOr("tokenizer.ggml.add_bos_token", add_bos_by_default) && bos_.has_value();
    add_eos_ = file.BoolOr("tokenizer.ggml.add_eos_token", false) && eos_.has_value();
    end_tokens_ = vocabulary_.EndTokens(file, eos_);
  }

  std::vector<Token> Encode(std::string_view text, const EncodeOptions& options) const override {
    std::vector<Token> tokens;
    if (options.add_special && add_bos_) tokens.push_back(*bos_);
    for (const Fragment& fragment : vocabulary_.Partition(text, options)) {
      if (fragment.token) {
        tokens.push_back(*fragment.token);
      } else {
        for (const std::string_view piece : pretokenizer_.Split(fragment.text)) EncodePiece(piece, tokens);
      }
    }
    if (options.add_special && add_eos_) tokens.push_back(*eos_);
    return tokens;
  }

  std::string Piece(Token token, bool render_special) const override {
    if (!vocabulary_.Contains(token)) return "";
    const TokenKind kind = vocabulary_.kind(token);
    if (kind == TokenKind::kControl || kind == TokenKind::kUnknown) return render_special ? vocabulary_.text(token) : "";
    if (kind == TokenKind::kUserDefined) return vocabulary_.text(token);
    return FromByteCharacters(vocabulary_.text(token)).value_or(vocabulary_.text(token));
  }

  int64_t size() const override { return vocabulary_.size(); }
  bool IsControl(Token token) const override {
    return vocabulary_.Contains(token) && vocabulary_.kind(token) == TokenKind::kControl;
  }
  std::optional<Token> Find(std::string_view text) const override { return vocabulary_.Find(text); }

 private:
  struct Symbol {
    Token token;
    int previous, next;
  };
  // Lower rank first; of equal ranks the one further left.
  struct Candidate {
    int32_t rank;
    int left;
    Token left_token, right_token, result;
    bool operator<(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };

  // A queue of possible merges keeps this O(n log n) for pre-tokens of any length.
  void EncodePiece(std::string_view piece, std::vector<Token>& tokens) const {
    if (ignore_merges_) {
      if (const auto whole = vocabulary_.Find(ToByteCharacters(piece))) {
        tokens.push_back(*whole);
        return;
      }
    }
    std::vector<Symbol> symbols;
    symbols.reserve(piece.size());
    for (const char byte : piece) {
      const int index = static_cast<int>(symbols.size());
      symbols.push_back({byte_tokens_[static_cast<unsigned char>(byte)], index - 1, index + 1});
    }
    symbols.back().next = -1;

    std::priority_queue<Candidate> queue;
    const auto consider = [&](int left) {
      const int right = left < 0 ? -1 : symbols[static_cast<size_t>(left)].next;
      if (right < 0) return;
      const Token a = symbols[static_cast<size_t>(left)].token, b = symbols[static_cast<size_t>(right)].token;
      if (const auto found = merges_.find(PairKey(a, b)); found != merges_.end()) {
        queue.push({found->second.rank, left, a, b, found->second.result});
      }
    };
    for (size_t i = 0; i + 1 < symbols.size(); ++i) consider(static_cast<int>(i));
    while (!queue.empty()) {
      const Candidate best = queue.top();
      queue.pop();
      Symbol& left = symbols[static_cast<size_t>(best.left)];
      if (left.token != best.left_token || left.next < 0) continue;  // merged away meanwhile
      Symbol& right = symbols[static_cast<size_t>(left.next)];
      if (right.token != best.right_token) continue;
      left.token = best.result;
      right.token = kMerged;
      left.next = right.next;
      if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = best.left;
      consider(left.previous);
      consider(best.left);
    }
    for (int i = 0; i >= 0; i = symbols[static_cast<size_t>(i)].next) {
      if (symbols[static_cast<size_t>(i)].token >= 0) tokens.push_back(symbols[static_cast<size_t>(i)].token);
    }
  }

  static constexpr Token kMerged = -2;

  Vocabulary vocabulary_;
  Pretokenizer pretokenizer_;
  bool ignore_merges_;
  Token byte_tokens_[256];
  std::unordered_map<uint64_t, Merge> merges_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const Tokenizer>> MakeBpeTokenizer(const GgufFile& file, Vocabulary vocabulary) {
  absl::StatusOr<PretokenizerFacts> facts = FindPretokenizer(file.StringOr("tokenizer.ggml.pre", ""));
  if (!facts.ok()) return Annotate(facts.status(), file.path().string());
  FEDGLM_ASSIGN_OR_RETURN(Pretokenizer pretokenizer, Pretokenizer::Make(facts->patterns));
  auto tokenizer = std::make_shared<BpeTokenizer>(std::move(vocabulary), std::move(pretokenizer), facts->ignore_merges);
  FEDGLM_RETURN_IF_ERROR(tokenizer->ReadMerges(file));
  tokenizer->ReadSpecialTokens(file, facts->add_bos);
  return std::shared_ptr<const Tokenizer>(std::move(tokenizer));
}

}  // namespace fedglm
