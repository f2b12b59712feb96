#include "inference/tokenizer/vocabulary.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/utf8.h"

namespace fedglm {
namespace {

// Names that end a turn in one family or another: control tokens, even where a converter typed them otherwise.
constexpr const char* kEndNames[] = {"<|eot_id|>",
                                     "<|im_end|>",
                                     "<|end|>",
                                     "<|return|>",
                                     "<|call|>",
                                     "<|flush|>",
                                     "<|calls|>",
                                     "<|eom_id|>",
                                     "<end_of_turn>",
                                     "</s>",
                                     "<|endoftext|>",
                                     "<EOT>",
                                     "_<EOT>",
                                     "[EOT]",
                                     "[EOS]",
                                     "<eos>",
                                     "<turn|>",
                                     "<|end_of_text|>",
                                     "[e~[",
                                     "<|eot|>",
                                     "<|endofmessage|>",
                                     "<|tool_response>",
                                     "<end_of_utterance>",
                                     "<｜end▁of▁sentence｜>"};
// GLM-4 ends a turn by naming who speaks next; these are left as the file types them.
constexpr const char* kNextSpeaker[] = {"<|user|>", "<|observation|>"};
// GLM-4.1V and what was made of it (Open-AutoGLM's model) end there too: Hugging Face's generation_config.json lists it
// with the ends above, for which a GGUF has no key. Whoever reads the answer gets it without this tag.
constexpr const char* kAnswerTag = "<answer>";
constexpr const char* kAnswerEnd = "</answer>";
// Fill-in-the-middle markers: control tokens as well, unless the file names its own by the key.
struct InfillNames {
  const char* key;
  bool ends;  // a model writes it when it is done
  std::vector<const char*> names;
};
const InfillNames kInfill[] = {
    {"fim_pre_token_id",
     false,
     {"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>", "<|code_prefix|>",
      "<|prefix|>"}},
    {"fim_suf_token_id",
     false,
     {"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>", "<|code_suffix|>",
      "<|suffix|>"}},
    {"fim_mid_token_id",
     false,
     {"<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>", "<|code_middle|>",
      "<|middle|>"}},
    {"fim_pad_token_id", true, {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"}},
    {"fim_rep_token_id", true, {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"}},
    {"fim_sep_token_id", true, {"<|file_sep|>"}}};
// gpt-oss: parts of an answer, always shown.
constexpr const char* kAlwaysShown[] = {"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"};

std::string Key(const std::string& name) { return "tokenizer.ggml." + name; }

bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// <|user|>, [INST], <｜User｜>: what a template might mean something by, as opposed to a run of spaces or a letter.
bool LooksLikeMarkup(std::string_view text) {
  return text.size() > 2 &&
         ((text.front() == '<' && text.back() == '>') || (text.front() == '[' && text.back() == ']'));
}

size_t StartBit(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<unsigned char>(text[i])); };
  return byte(0) * 256 + (text.size() > 1 ? byte(1) : 0);
}

}  // namespace

absl::StatusOr<Vocabulary> Vocabulary::FromGguf(const GgufFile& file) {
  const auto bad = [&](const std::string& what) { return BadFileError(file.path().string() + ": " + what); };
  const GgufArray* const tokens = file.FindArray(Key("tokens"));
  if (tokens == nullptr || tokens->strings.empty()) return bad("it has no vocabulary (tokenizer.ggml.tokens)");
  Vocabulary vocabulary;
  vocabulary.texts_ = tokens->strings;
  const size_t size = vocabulary.texts_.size();
  vocabulary.kinds_.assign(size, TokenKind::kNormal);
  if (const GgufArray* types = file.FindArray(Key("token_type"))) {
    if (types->integers.size() != size) return bad("tokenizer.ggml.token_type has another length");
    for (size_t i = 0; i < size; ++i) {
      const int64_t type = types->integers[i];
      if (type < 0 || type > 6) return bad("tokenizer.ggml.token_type holds an unknown type");
      vocabulary.kinds_[i] = type == 0 ? TokenKind::kNormal : static_cast<TokenKind>(type);
    }
  }
  if (const GgufArray* scores = file.FindArray(Key("scores"))) {
    if (scores->numbers.size() + scores->integers.size() != size)
      return bad("tokenizer.ggml.scores has another length");
    vocabulary.scores_.assign(scores->numbers.begin(), scores->numbers.end());
    vocabulary.scores_.insert(vocabulary.scores_.end(), scores->integers.begin(), scores->integers.end());
    for (const float score : vocabulary.scores_) {
      if (std::isnan(score)) return bad("tokenizer.ggml.scores holds one that is no number");
    }
  }
  for (size_t i = 0; i < size; ++i) {
    const std::string& text = vocabulary.texts_[i];
    if (ValidUtf8Prefix(text) != text.size()) return bad("token " + std::to_string(i) + " is not valid UTF-8");
    vocabulary.longest_ = std::max(vocabulary.longest_, text.size());
    if (!text.empty()) vocabulary.index_.emplace(text, static_cast<Token>(i));  // of two alike, the first
  }
  FEDGLM_RETURN_IF_ERROR(vocabulary.MarkTurnTokens(file));
  vocabulary.MarkStripping(file);
  vocabulary.GroupSpecialTokens();
  return vocabulary;
}

std::optional<Token> Vocabulary::Find(std::string_view text) const {
  if (text.size() > longest_) return std::nullopt;  // spares hashing what cannot be there
  const auto found = index_.find(text);
  if (found == index_.end()) return std::nullopt;
  return found->second;
}

absl::StatusOr<std::optional<Token>> Vocabulary::TokenAt(const GgufFile& file, const std::string& key) const {
  const int64_t id = file.IntegerOr(key, -1);
  if (id == -1 || id == UINT32_MAX) return std::optional<Token>();  // absent, or "none" as converters write it
  if (id < 0 || id >= size()) {
    return BadFileError(file.path().string() + ": " + key + " is " + std::to_string(id) + ", but there are " +
                        std::to_string(size()) + " tokens");
  }
  return std::optional<Token>(static_cast<Token>(id));
}

// Converters type tokens as well as they can. What is known by name is set right here, as llama.cpp does; but an
// ordinary token stays one if its name could as well be text (Qwen2 has such a </s>).
std::optional<Token> Vocabulary::MarkControl(std::string_view name) {
  const std::optional<Token> token = Find(name);
  const bool unmistakable = name.find('|') != std::string_view::npos || name.find("｜") != std::string_view::npos;
  if (!token || (kind(*token) == TokenKind::kNormal && !unmistakable)) return std::nullopt;
  SetKind(*token, TokenKind::kControl);
  return token;
}

absl::Status Vocabulary::MarkTurnTokens(const GgufFile& file) {
  std::set<Token> ends;
  for (const char* key : {"eos_token_id", "eot_token_id", "eom_token_id"}) {
    FEDGLM_ASSIGN_OR_RETURN(const std::optional<Token> token, TokenAt(file, Key(key)));
    if (token) ends.insert(*token);
  }
  for (const InfillNames& infill : kInfill) {
    FEDGLM_ASSIGN_OR_RETURN(std::optional<Token> token, TokenAt(file, Key(infill.key)));
    for (const char* name : infill.names) {
      if (!token) token = MarkControl(name);
    }
    if (token && infill.ends) ends.insert(*token);
  }
  for (const char* name : kEndNames) {
    if (const std::optional<Token> token = MarkControl(name)) ends.insert(*token);
  }
  for (const char* name : kNextSpeaker) {
    if (const std::optional<Token> token = Find(name); token && kind(*token) != TokenKind::kNormal) ends.insert(*token);
  }
  const std::optional<Token> answer_end = Find(kAnswerEnd);
  if (answer_end && Find(kAnswerTag) && Find(kNextSpeaker[1]) && kind(*answer_end) != TokenKind::kNormal) {
    ends.insert(*answer_end);
  }
  for (const char* name : kAlwaysShown) {
    if (const std::optional<Token> token = Find(name)) SetKind(*token, TokenKind::kUserDefined);
  }
  const auto ends_with = [&](const char* name) {
    const std::optional<Token> token = Find(name);
    return token && ends.contains(*token);
  };
  // gpt-oss and Solar: <|end|> ends one message of several in a turn.
  const bool calls = ends_with("<|call|>") || ends_with("<|calls|>");
  if (ends_with("<|end|>") && calls && (ends_with("<|return|>") || ends_with("<|flush|>"))) {
    ends.erase(*Find("<|end|>"));
    SetKind(*Find("<|end|>"), TokenKind::kUserDefined);
  }
  end_tokens_.assign(ends.begin(), ends.end());
  return absl::OkStatus();
}

void Vocabulary::GroupSpecialTokens() {
  std::map<size_t, SpecialGroup, std::greater<>> by_length;
  for (Token token = 0; token < size(); ++token) {
    const TokenKind kind = this->kind(token);
    const std::string& text = this->text(token);
    if (text.empty()) continue;
    if (kind != TokenKind::kControl && kind != TokenKind::kUserDefined && kind != TokenKind::kUnknown) continue;
    SpecialGroup& group = by_length[text.size()];
    group.length = text.size();
    group.starts.resize(65536 / 64);
    group.starts[StartBit(text) / 64] |= uint64_t{1} << (StartBit(text) % 64);
    group.tokens.emplace(text, token);
    if (kind == TokenKind::kUserDefined) group.has_user_defined = true;
  }
  for (auto& [length, group] : by_length) special_.push_back(std::move(group));
}

// GGUF has no key for what Hugging Face's tokenizers call lstrip and rstrip: the families that have it are known by
// name.
void Vocabulary::MarkStripping(const GgufFile& file) {
  std::string name = file.StringOr("general.name", "");
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  const std::string pre = file.StringOr(Key("pre"), "");
  const auto swallow_before = [&](const char* text) {
    if (const std::optional<Token> token = Find(text)) strips_before_.insert(*token);
  };
  if (pre == "jina-v2-de" || pre == "jina-v2-es" || pre == "jina-v2-code") {
    swallow_before("<mask>");
  } else if (name.find("phi-3") != std::string::npos || name.find("phi3") != std::string::npos) {
    for (Token token = 0; token < size(); ++token) {
      const TokenKind kind = this->kind(token);
      const std::string& text = this->text(token);
      if (kind != TokenKind::kControl && kind != TokenKind::kUserDefined && kind != TokenKind::kUnknown) continue;
      if (text != "<unk>" && text != "<s>" && text != "<|endoftext|>") strips_after_.insert(token);
    }
  } else if (name.find("modern-bert") != std::string::npos) {
    swallow_before("[MASK]");
  }
}

bool Vocabulary::IsCutOut(Token token, const EncodeOptions& options) const {
  if (kind(token) != TokenKind::kUserDefined) return options.parse_special;
  return options.user_defined || !LooksLikeMarkup(text(token));
}

// One pass for all names of one length; which pairs of bytes they begin with decides most positions.
void Vocabulary::CutOut(const SpecialGroup& group, const EncodeOptions& options, std::string_view text,
                        std::vector<Fragment>& out) const {
  size_t done = 0;
  for (size_t at = 0; at + group.length <= text.size();) {
    const std::string_view name = text.substr(at, group.length);
    const size_t bit = StartBit(name);
    if ((group.starts[bit / 64] >> (bit % 64) & 1) == 0) {
      ++at;
      continue;
    }
    const auto found = group.tokens.find(name);
    if (found == group.tokens.end() || !IsCutOut(found->second, options)) {
      ++at;
      continue;
    }
    size_t before = at, after = at + group.length;
    if (strips_before_.contains(found->second)) {
      while (before > done && IsSpace(text[before - 1])) --before;
    }
    if (strips_after_.contains(found->second)) {
      while (after < text.size() && IsSpace(text[after])) ++after;
    }
    if (before > done) out.push_back({text.substr(done, before - done), std::nullopt});
    out.push_back({name, found->second});
    done = at = after;
  }
  if (done < text.size()) out.push_back({text.substr(done), std::nullopt});
}

std::vector<Fragment> Vocabulary::Partition(std::string_view text, const EncodeOptions& options) const {
  std::vector<Fragment> fragments;
  if (!text.empty()) fragments.push_back({text, std::nullopt});
  for (const SpecialGroup& group : special_) {
    if (!options.parse_special && !group.has_user_defined) continue;
    std::vector<Fragment> cut;
    for (const Fragment& fragment : fragments) {
      if (fragment.token) {
        cut.push_back(fragment);
      } else {
        CutOut(group, options, fragment.text, cut);
      }
    }
    fragments = std::move(cut);
  }
  return fragments;
}

}  // namespace fedglm
