#include "inference/tokenizer/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "base/utf8.h"

namespace fedglm {
namespace {

struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct FreeMatch {
  void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
};
struct FreeContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
using Code = std::unique_ptr<pcre2_code, FreeCode>;

struct Compiled {
  Code code;
  MatchCut match_cut;
};

// \s of the models' own tokenizers is Unicode's White_Space. PCRE2's has U+180E besides, which is none since
// Unicode 6.3.
std::string WithUnicodeSpaces(const std::string& regex) {
  static constexpr char kSpaces[] = R"(\t-\r\x{85}\p{Z})";
  std::string result;
  bool in_class = false;
  for (size_t i = 0; i < regex.size(); ++i) {
    const char c = regex[i];
    const char escaped = c == '\\' && i + 1 < regex.size() ? regex[i + 1] : '\0';
    if (escaped == 's') {
      result += in_class ? std::string(kSpaces) : "[" + std::string(kSpaces) + "]";
    } else if (escaped == 'S' && !in_class) {
      result += "[^" + std::string(kSpaces) + "]";
    } else {
      if (c == '[') in_class = true;
      if (c == ']') in_class = false;
      result += c;
      if (escaped != '\0') result += escaped;
    }
    if (escaped != '\0') ++i;
  }
  return result;
}

// Collects the pieces of one stretch of text from the places where it is cut.
class Cutter {
 public:
  Cutter(std::string_view text, std::vector<std::string_view>& out) : text_(text), out_(out) {}
  void CutAt(size_t at) {
    if (at <= done_) return;
    out_.push_back(text_.substr(done_, at - done_));
    done_ = at;
  }
  void CutMatch(size_t begin, size_t end, MatchCut how) {
    if (how != MatchCut::kBeforeThrees) CutAt(begin);
    if (how != MatchCut::kAround) {
      size_t left = 0;
      for (size_t i = begin; i < end; ++i) left += IsUtf8Continuation(text_[i]) ? 0 : 1;
      for (size_t i = begin; i < end; ++i) {
        if (IsUtf8Continuation(text_[i])) continue;
        if (left % 3 == 0) CutAt(i);
        --left;
      }
    }
    if (how != MatchCut::kBeforeThrees) CutAt(end);
  }
  void Finish() { CutAt(text_.size()); }

 private:
  std::string_view text_;
  std::vector<std::string_view>& out_;
  size_t done_ = 0;
};

// Cuts `piece`, which is valid UTF-8.
void CutPiece(const Compiled& pattern, pcre2_match_data* match, pcre2_match_context* context, std::string_view piece,
              std::vector<std::string_view>& out) {
  const auto subject = reinterpret_cast<PCRE2_SPTR>(piece.data());
  Cutter cutter(piece, out);
  for (size_t search = 0; search < piece.size();) {
    const pcre2_code* const code = pattern.code.get();
    int found = pcre2_match(code, subject, piece.size(), search, PCRE2_NO_UTF_CHECK, match, context);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {  // the interpreter's stack is the heap
      found = pcre2_match(code, subject, piece.size(), search, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, match, context);
    }
    if (found < 0) break;
    const PCRE2_SIZE* const range = pcre2_get_ovector_pointer(match);
    const size_t begin = range[0], end = range[1];
    if (end > begin) cutter.CutMatch(begin, end, pattern.match_cut);
    search = end > begin ? end : begin + std::max<size_t>(1, Utf8CharacterSize(piece.substr(begin)));
  }
  cutter.Finish();
}

}  // namespace

struct Pretokenizer::State {
  std::vector<Compiled> patterns;
};

Pretokenizer::Pretokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Pretokenizer::Pretokenizer(Pretokenizer&&) noexcept = default;
Pretokenizer& Pretokenizer::operator=(Pretokenizer&&) noexcept = default;
Pretokenizer::~Pretokenizer() = default;

absl::StatusOr<Pretokenizer> Pretokenizer::Make(const std::vector<CutPattern>& patterns) {
  auto state = std::make_unique<State>();
  for (const CutPattern& pattern : patterns) {
    const std::string regex = WithUnicodeSpaces(pattern.regex);
    int error = 0;
    PCRE2_SIZE offset = 0;
    constexpr uint32_t kOptions = PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY;
    Code code(
        pcre2_compile(reinterpret_cast<PCRE2_SPTR>(regex.data()), regex.size(), kOptions, &error, &offset, nullptr));
    if (code == nullptr) {
      char reason[256];
      pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(reason), sizeof(reason));
      return FailedError("pre-tokenizer pattern '" + pattern.regex + "': " + reason);
    }
    pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);  // where it is not available, matching interprets
    state->patterns.push_back({std::move(code), pattern.match_cut});
  }
  return Pretokenizer(std::move(state));
}

std::vector<std::string_view> Pretokenizer::Split(std::string_view text) const {
  const std::unique_ptr<pcre2_match_context, FreeContext> context(pcre2_match_context_create(nullptr));
  // What a match may cost before it is given up: every pattern here needs a few steps for each byte of its match.
  const size_t limit = 1'000'000 + 32 * text.size();
  if (context != nullptr)
    pcre2_set_match_limit(context.get(), static_cast<uint32_t>(std::min<size_t>(limit, UINT32_MAX)));

  std::vector<std::string_view> pieces;
  for (size_t at = 0; at < text.size();) {
    const size_t valid = ValidUtf8Prefix(text.substr(at));
    std::vector<std::string_view> cut;
    if (valid > 0) cut.push_back(text.substr(at, valid));
    for (const Compiled& pattern : state_->patterns) {
      const std::unique_ptr<pcre2_match_data, FreeMatch> match(
          pcre2_match_data_create_from_pattern(pattern.code.get(), nullptr));
      if (match == nullptr) continue;
      std::vector<std::string_view> finer;
      for (const std::string_view piece : cut) CutPiece(pattern, match.get(), context.get(), piece, finer);
      cut = std::move(finer);
    }
    pieces.insert(pieces.end(), cut.begin(), cut.end());
    at += valid;
    const size_t invalid = at;
    while (at < text.size() && Utf8CharacterSize(text.substr(at)) == 0) ++at;
    if (at > invalid) pieces.push_back(text.substr(invalid, at - invalid));
  }
  return pieces;
}

}  // namespace fedglm
