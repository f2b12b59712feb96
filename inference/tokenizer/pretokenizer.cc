#include "inference/tokenizer/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

namespace fedglm {
namespace {

// What a match may cost before it is given up: no text can make a pattern run for ever.
constexpr uint32_t kMatchLimit = 1'000'000;

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

// Cuts `piece` into the pattern's matches and what lies between them.
void SplitPiece(const pcre2_code* code, pcre2_match_data* match, pcre2_match_context* context, std::string_view piece,
                std::vector<std::string_view>& out) {
  const auto subject = reinterpret_cast<PCRE2_SPTR>(piece.data());
  size_t done = 0, search = 0;
  while (search < piece.size()) {
    if (pcre2_match(code, subject, piece.size(), search, 0, match, context) < 0) break;
    const PCRE2_SIZE* const range = pcre2_get_ovector_pointer(match);
    const size_t begin = range[0], end = range[1];
    if (begin > done) out.push_back(piece.substr(done, begin - done));
    if (end > begin) out.push_back(piece.substr(begin, end - begin));
    done = std::max(begin, end);
    // An empty match cuts; the search goes on behind the next character.
    search = end > begin ? end : done + 1;
    while (search < piece.size() && (static_cast<unsigned char>(piece[search]) & 0xC0) == 0x80 && end == begin) ++search;
  }
  if (done < piece.size()) out.push_back(piece.substr(done));
}

}  // namespace

struct Pretokenizer::State {
  std::vector<Code> codes;
};

Pretokenizer::Pretokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Pretokenizer::Pretokenizer(Pretokenizer&&) noexcept = default;
Pretokenizer& Pretokenizer::operator=(Pretokenizer&&) noexcept = default;
Pretokenizer::~Pretokenizer() = default;

absl::StatusOr<Pretokenizer> Pretokenizer::Make(const std::vector<std::string>& patterns) {
  auto state = std::make_unique<State>();
  for (const std::string& pattern : patterns) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    // Invalid UTF-8 matches nothing and so becomes pieces of its own.
    constexpr uint32_t kOptions = PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF | PCRE2_DOLLAR_ENDONLY;
    Code code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), kOptions, &error, &offset, nullptr));
    if (code == nullptr) {
      char reason[256];
      pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(reason), sizeof(reason));
      return FailedError("pre-tokenizer pattern '" + pattern + "': " + reason);
    }
    pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);  // where it is not available, matching interprets
    state->codes.push_back(std::move(code));
  }
  return Pretokenizer(std::move(state));
}

std::vector<std::string_view> Pretokenizer::Split(std::string_view text) const {
  std::vector<std::string_view> pieces;
  if (text.empty()) return pieces;
  pieces.push_back(text);
  const std::unique_ptr<pcre2_match_context, FreeContext> context(pcre2_match_context_create(nullptr));
  if (context != nullptr) pcre2_set_match_limit(context.get(), kMatchLimit);
  for (const Code& code : state_->codes) {
    const std::unique_ptr<pcre2_match_data, FreeMatch> match(pcre2_match_data_create_from_pattern(code.get(), nullptr));
    if (match == nullptr) continue;
    std::vector<std::string_view> cut;
    for (const std::string_view piece : pieces) SplitPiece(code.get(), match.get(), context.get(), piece, cut);
    pieces = std::move(cut);
  }
  return pieces;
}

}  // namespace fedglm
