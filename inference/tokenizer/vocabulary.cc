#include "inference/tokenizer/vocabulary.h"

#include <algorithm>
#include <set>

namespace fedglm {
namespace {

constexpr const char* kEndNames[] = {"<|eot_id|>",     "<|im_end|>",  "<|end|>",       "<end_of_turn>", "<|endoftext|>",
                                     "<|eom_id|>",     "<EOT>",       "_<EOT>",        "<|eot|>",       "<|end_of_text|>",
                                     "<|user|>",       "<|observation|>", "[EOT]",     "[EOS]",         "<|endofmessage|>"};

}  // namespace

absl::StatusOr<Vocabulary> Vocabulary::FromGguf(const GgufFile& file) {
  const auto bad = [&](const std::string& what) { return BadFileError(file.path().string() + ": " + what); };
  const GgufArray* const tokens = file.FindArray("tokenizer.ggml.tokens");
  if (tokens == nullptr || tokens->strings.empty()) return bad("it has no vocabulary (tokenizer.ggml.tokens)");
  Vocabulary vocabulary;
  vocabulary.texts_ = tokens->strings;
  vocabulary.kinds_.assign(tokens->strings.size(), TokenKind::kNormal);
  if (const GgufArray* types = file.FindArray("tokenizer.ggml.token_type")) {
    if (types->integers.size() != tokens->strings.size()) return bad("tokenizer.ggml.token_type has another length");
    for (size_t i = 0; i < types->integers.size(); ++i) {
      const int64_t type = types->integers[i];
      if (type < 0 || type > 6) return bad("tokenizer.ggml.token_type holds an unknown type");
      vocabulary.kinds_[i] = type == 0 ? TokenKind::kNormal : static_cast<TokenKind>(type);
    }
  }
  if (const GgufArray* scores = file.FindArray("tokenizer.ggml.scores")) {
    if (scores->numbers.size() != tokens->strings.size()) return bad("tokenizer.ggml.scores has another length");
    vocabulary.scores_.assign(scores->numbers.begin(), scores->numbers.end());
  }
  for (size_t i = 0; i < vocabulary.texts_.size(); ++i) {
    const Token token = static_cast<Token>(i);
    vocabulary.index_.emplace(vocabulary.texts_[i], token);  // of two alike, the first
    const TokenKind kind = vocabulary.kinds_[i];
    if (!vocabulary.texts_[i].empty() &&
        (kind == TokenKind::kControl || kind == TokenKind::kUserDefined || kind == TokenKind::kUnknown)) {
      vocabulary.special_.push_back(token);
    }
  }
  std::stable_sort(vocabulary.special_.begin(), vocabulary.special_.end(),
                   [&](Token a, Token b) { return vocabulary.text(a).size() > vocabulary.text(b).size(); });
  return vocabulary;
}

std::optional<Token> Vocabulary::Find(std::string_view text) const {
  const auto found = index_.find(text);
  if (found == index_.end()) return std::nullopt;
  return found->second;
}

std::optional<Token> Vocabulary::TokenAt(const GgufFile& file, const std::string& key) const {
  const int64_t id = file.IntegerOr(key, -1);
  if (id < 0 || id >= size()) return std::nullopt;
  return static_cast<Token>(id);
}

std::vector<Token> Vocabulary::EndTokens(const GgufFile& file, std::optional<Token> eos) const {
  std::set<Token> ends;
  if (eos) ends.insert(*eos);
  for (const char* key : {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    if (const std::optional<Token> token = TokenAt(file, key)) ends.insert(*token);
  }
  for (const char* name : kEndNames) {
    if (const std::optional<Token> token = Find(name); token && kind(*token) != TokenKind::kNormal) ends.insert(*token);
  }
  return {ends.begin(), ends.end()};
}

std::vector<Fragment> Vocabulary::Partition(std::string_view text, const EncodeOptions& options) const {
  std::vector<Fragment> fragments;
  if (!text.empty()) fragments.push_back({text, std::nullopt});
  if (!options.parse_special && !options.user_defined) return fragments;
  for (const Token token : special_) {
    if (kind(token) == TokenKind::kUserDefined ? !options.user_defined : !options.parse_special) continue;
    const std::string& name = this->text(token);
    if (text.find(name) == std::string_view::npos) continue;
    std::vector<Fragment> cut;
    for (const Fragment& fragment : fragments) {
      std::string_view rest = fragment.text;
      if (fragment.token) {
        cut.push_back(fragment);
        continue;
      }
      for (size_t at = rest.find(name); at != std::string_view::npos; at = rest.find(name)) {
        if (at > 0) cut.push_back({rest.substr(0, at), std::nullopt});
        cut.push_back({rest.substr(at, name.size()), token});
        rest.remove_prefix(at + name.size());
      }
      if (!rest.empty()) cut.push_back({rest, std::nullopt});
    }
    fragments = std::move(cut);
  }
  return fragments;
}

}  // namespace fedglm
