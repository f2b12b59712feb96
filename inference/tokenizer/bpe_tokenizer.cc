// Byte-pair encoding by ranked merges (Sennrich et al. 2016): over bytes in GPT-2's form, over characters in Gemma 4's.
#include <queue>
#include <unordered_map>
#include <unordered_set>

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

class BpeTokenizer : public VocabularyTokenizer {
 public:
  BpeTokenizer(Vocabulary vocabulary, Pretokenizer pretokenizer, const PretokenizerFacts& facts)
      : VocabularyTokenizer(std::move(vocabulary)),
        pretokenizer_(std::move(pretokenizer)),
        ignore_merges_(facts.ignore_merges),
        characters_(facts.characters),
        whole_newlines_(facts.gemma) {
    for (int i = 0; i < 256; ++i) {
      const unsigned char byte = static_cast<unsigned char>(i);
      byte_tokens_[byte] = vocabulary_.Find(characters_ ? ByteTokenName(byte) : ByteCharacter(byte)).value_or(kNone);
    }
  }

  absl::Status ReadMerges(const GgufFile& file) {
    const auto bad = [&](size_t rank, const std::string& what) {
      return BadFileError(file.path().string() + ": merge " + std::to_string(rank) + " " + what);
    };
    const GgufArray* const merges = file.FindArray("tokenizer.ggml.merges");
    if (merges == nullptr) return BadFileError(file.path().string() + ": tokenizer.ggml.merges is missing");
    if (!merges->integers.empty() || !merges->numbers.empty()) {
      return BadFileError(file.path().string() + ": tokenizer.ggml.merges is not a list of strings");
    }
    merges_.reserve(merges->strings.size());
    // A vocabulary that was cut short keeps the merges that make what it dropped; these can never apply.
    std::unordered_set<std::string> dropped;
    for (size_t rank = 0; rank < merges->strings.size(); ++rank) {
      const std::string_view merge = merges->strings[rank];
      const size_t space = merge.find(' ', 1);
      if (space == std::string_view::npos || space + 1 >= merge.size()) return bad(rank, "is not a pair");
      const std::string left_text(merge.substr(0, space)), right_text(merge.substr(space + 1));
      const auto left = vocabulary_.Find(left_text), right = vocabulary_.Find(right_text);
      if ((!left && !dropped.contains(left_text)) || (!right && !dropped.contains(right_text))) {
        return bad(rank, "joins what is no token");
      }
      const auto result = vocabulary_.Find(left_text + right_text);
      if (!result) dropped.insert(left_text + right_text);
      if (left && right && result) merges_.emplace(PairKey(*left, *right), Merge{static_cast<int32_t>(rank), *result});
    }
    return absl::OkStatus();
  }

  absl::Status ReadSpecialTokens(const GgufFile& file, const PretokenizerFacts& facts) {
    FEDGLM_ASSIGN_OR_RETURN(bos_, vocabulary_.TokenAt(file, "tokenizer.ggml.bos_token_id"));
    FEDGLM_ASSIGN_OR_RETURN(eos_, vocabulary_.TokenAt(file, "tokenizer.ggml.eos_token_id"));
    add_bos_ = (file.BoolOr("tokenizer.ggml.add_bos_token", facts.add_bos) || facts.gemma) && bos_.has_value();
    add_eos_ = file.BoolOr("tokenizer.ggml.add_eos_token", false) && eos_.has_value();
    end_tokens_ = vocabulary_.end_tokens();
    return absl::OkStatus();
  }

  std::vector<Token> Encode(std::string_view text, const EncodeOptions& options) const override {
    std::vector<Token> tokens;
    if (options.add_special && add_bos_) tokens.push_back(*bos_);
    for (const Fragment& fragment : vocabulary_.Partition(text, options)) {
      if (fragment.token) {
        tokens.push_back(*fragment.token);
      } else if (characters_) {
        const std::string escaped = EscapeSpaces(fragment.text);
        for (const std::string_view piece : pretokenizer_.Split(escaped)) EncodeCharacters(piece, tokens);
      } else {
        for (const std::string_view piece : pretokenizer_.Split(fragment.text)) EncodeBytes(piece, tokens);
      }
    }
    if (options.add_special && add_eos_) tokens.push_back(*eos_);
    return tokens;
  }

 private:
  std::string Unescape(const std::string& text) const override {
    return characters_ ? UnescapeSpaces(text) : FromByteCharacters(text).value_or(text);
  }

  static constexpr Token kNone = -1;    // no token stands for this character or byte
  static constexpr Token kMerged = -2;  // part of the symbol before it

  struct Symbol {
    Token token;
    int previous, next;
  };
  // Lower rank first; of equal ranks the one further left.
  struct Candidate {
    int32_t rank;
    int left;
    Token left_token, right_token, result;
    bool operator<(const Candidate& other) const { return rank != other.rank ? rank > other.rank : left > other.left; }
  };

  static void Append(Token token, std::vector<Symbol>& symbols) {
    const int index = static_cast<int>(symbols.size());
    symbols.push_back({token, index - 1, index + 1});
  }

  void EncodeBytes(std::string_view piece, std::vector<Token>& tokens) const {
    if (ignore_merges_) {
      if (const auto whole = vocabulary_.Find(ToByteCharacters(piece))) {
        tokens.push_back(*whole);
        return;
      }
    }
    std::vector<Symbol> symbols;
    symbols.reserve(piece.size());
    for (const char byte : piece) Append(byte_tokens_[static_cast<unsigned char>(byte)], symbols);
    ApplyMerges(symbols);
    for (int i = 0; i >= 0; i = symbols[static_cast<size_t>(i)].next) {
      if (symbols[static_cast<size_t>(i)].token >= 0) tokens.push_back(symbols[static_cast<size_t>(i)].token);
    }
  }

  void EncodeCharacters(std::string_view piece, std::vector<Token>& tokens) const {
    if (whole_newlines_ && piece.find_first_not_of('\n') == std::string_view::npos) {
      if (const auto whole = vocabulary_.Find(piece)) {
        tokens.push_back(*whole);
        return;
      }
    }
    std::vector<Symbol> symbols;
    std::vector<std::string_view> characters;
    for (size_t at = 0; at < piece.size();) {
      const std::string_view character = FirstCharacter(piece.substr(at));
      Append(vocabulary_.Find(character).value_or(kNone), symbols);
      characters.push_back(character);
      at += character.size();
    }
    ApplyMerges(symbols);
    for (int i = 0; i >= 0; i = symbols[static_cast<size_t>(i)].next) {
      if (const Token token = symbols[static_cast<size_t>(i)].token; token >= 0) {
        tokens.push_back(token);
        continue;
      }
      for (const char byte : characters[static_cast<size_t>(i)]) {
        const Token token = byte_tokens_[static_cast<unsigned char>(byte)];
        if (token >= 0) tokens.push_back(token);
      }
    }
  }

  // A queue of possible merges keeps this O(n log n) for pre-tokens of any length.
  void ApplyMerges(std::vector<Symbol>& symbols) const {
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
  }

  Pretokenizer pretokenizer_;
  bool ignore_merges_;
  bool characters_;
  bool whole_newlines_;
  Token byte_tokens_[256];
  std::unordered_map<uint64_t, Merge> merges_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const Tokenizer>> MakeBpeTokenizer(const GgufFile& file, Vocabulary vocabulary,
                                                                  const std::string& pre) {
  absl::StatusOr<PretokenizerFacts> facts = FindPretokenizer(pre);
  if (!facts.ok()) return Annotate(facts.status(), file.path().string());
  FEDGLM_ASSIGN_OR_RETURN(Pretokenizer pretokenizer, Pretokenizer::Make(facts->patterns));
  auto tokenizer = std::make_shared<BpeTokenizer>(std::move(vocabulary), std::move(pretokenizer), *facts);
  FEDGLM_RETURN_IF_ERROR(tokenizer->ReadMerges(file));
  FEDGLM_RETURN_IF_ERROR(tokenizer->ReadSpecialTokens(file, *facts));
  return std::shared_ptr<const Tokenizer>(std::move(tokenizer));
}

}  // namespace fedglm
