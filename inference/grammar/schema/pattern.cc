#include "inference/grammar/schema/pattern.h"

#include <algorithm>
#include <optional>

#include "base/utf8.h"
#include "inference/grammar/gbnf_text.h"

namespace fedglm {
namespace {

constexpr int kMaxNesting = 40;  // two of GBNF's for each
constexpr int64_t kMaxRepetition = 10'000;

int64_t Add(int64_t a, int64_t b) { return a > kAnyLength - b ? kAnyLength : a + b; }
int64_t Multiply(int64_t a, int64_t b) { return a != 0 && b > kAnyLength / a ? kAnyLength : a * b; }

const CharacterSet& Digits() {
  static const CharacterSet set = {{'0', '9'}};
  return set;
}
const CharacterSet& WordCharacters() {
  static const CharacterSet set = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
  return set;
}
const CharacterSet& Spaces() {
  static const CharacterSet set = {{0x9, 0xD},       {0x20, 0x20},     {0xA0, 0xA0},     {0x1680, 0x1680},
                                   {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F},
                                   {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
  return set;
}
const CharacterSet& AllButLineEnds() {
  static const CharacterSet set = Complement({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}});
  return set;
}

class PatternParser {
 public:
  explicit PatternParser(std::string_view pattern) : rest_(pattern) {}

  // A pattern may be found anywhere in the string, so that what is not anchored has any characters beside it.
  absl::StatusOr<PatternGrammar> Parse() {
    FEDGLM_ASSIGN_OR_RETURN(PatternGrammar whole, ParseAlternatives(0));
    if (!rest_.empty()) return Error("a ')' too many");
    return whole;
  }

 private:
  static absl::Status Error(std::string what) { return UsageError("the pattern has " + what); }

  char Peek() const { return rest_.empty() ? '\0' : rest_[0]; }
  bool Take(std::string_view expected) {
    if (!rest_.starts_with(expected)) return false;
    rest_.remove_prefix(expected.size());
    return true;
  }

  absl::StatusOr<PatternGrammar> ParseAlternatives(int nesting) {
    if (nesting > kMaxNesting) return Error("groups that are nested too deeply");
    PatternGrammar all{.shortest = kAnyLength};
    do {
      const bool whole = nesting == 0;
      const bool from_start = whole && Take("^");
      FEDGLM_ASSIGN_OR_RETURN(PatternGrammar one, ParseSequence(nesting));
      const bool to_end = whole && Take("$");
      if (!rest_.empty() && Peek() != '|' && Peek() != ')') return Error("a '$' that is not at its end");
      if (whole && !from_start) one.content = "char* " + one.content;
      if (whole && !to_end) one.content += " char*";
      if (whole && !(from_start && to_end)) one.longest = kAnyLength;
      if (!all.content.empty()) all.content += " | ";
      all.content += one.content;
      all.shortest = std::min(all.shortest, one.shortest);
      all.longest = std::max(all.longest, one.longest);
    } while (Take("|"));
    return all;
  }

  absl::StatusOr<PatternGrammar> ParseSequence(int nesting) {
    PatternGrammar sequence{.content = "\"\""};
    while (!rest_.empty() && Peek() != '|' && Peek() != ')' && Peek() != '$') {
      FEDGLM_ASSIGN_OR_RETURN(PatternGrammar item, ParseItem(nesting));
      FEDGLM_RETURN_IF_ERROR(ParseQuantifier(item));
      sequence.content += " " + item.content;
      sequence.shortest = Add(sequence.shortest, item.shortest);
      sequence.longest = Add(sequence.longest, item.longest);
    }
    return sequence;
  }

  static PatternGrammar OneCharacter(const CharacterSet& set) { return {JsonStringCharacter(set), 1, 1}; }

  absl::StatusOr<PatternGrammar> ParseItem(int nesting) {
    if (Take("(")) {
      if (Take("?")) {
        const bool named = Peek() == '<' && !rest_.starts_with("<=") && !rest_.starts_with("<!");
        if (named) {
          const size_t end = rest_.find('>');
          if (end == std::string_view::npos) return Error("a group whose name does not end");
          rest_.remove_prefix(end + 1);
        } else if (!Take(":")) {
          return Error("look-around or flags, which are not supported");
        }
      }
      FEDGLM_ASSIGN_OR_RETURN(PatternGrammar group, ParseAlternatives(nesting + 1));
      if (!Take(")")) return Error("a group that does not end");
      group.content = "(" + group.content + ")";
      return group;
    }
    if (Take("[")) return ParseClass();
    if (Take(".")) return OneCharacter(AllButLineEnds());
    if (Peek() == '^') return Error("a '^' that is not at its beginning");
    if (Peek() == '*' || Peek() == '+' || Peek() == '?') return Error("nothing before a quantifier");
    if (Take("\\")) {
      FEDGLM_ASSIGN_OR_RETURN(const CharacterSet set, ParseEscape(/*in_class=*/false));
      return OneCharacter(set);
    }
    CodePoint character = 0;
    if (!TakeUtf8(rest_, character)) return Error("bytes that are not UTF-8");
    return OneCharacter({{character, character}});
  }

  absl::Status ParseQuantifier(PatternGrammar& item) {
    int64_t least = 0, most = kAnyLength;
    if (Take("+")) {
      least = 1;
    } else if (Take("?")) {
      most = 1;
    } else if (Peek() == '{' && rest_.size() > 1 && rest_[1] >= '0' && rest_[1] <= '9') {
      Take("{");
      least = ParseCount();
      if (!Take(",")) {
        most = least;
      } else if (Peek() != '}') {
        most = ParseCount();
      }
      if (!Take("}") || most < least) return Error("a bad quantifier {m,n}");
    } else if (!Take("*")) {
      return absl::OkStatus();
    }
    Take("?");  // how eagerly it is matched changes no language
    if (Peek() == '*' || Peek() == '+' || Peek() == '?') return Error("two quantifiers in a row");
    if (least > kMaxRepetition || (most != kAnyLength && most > kMaxRepetition)) {
      return Error("more than " + std::to_string(kMaxRepetition) + " repetitions, which are not supported");
    }
    item.content += "{" + std::to_string(least) + "," + (most == kAnyLength ? "" : std::to_string(most)) + "}";
    item.shortest = Multiply(item.shortest, least);
    item.longest = Multiply(item.longest, most);
    return absl::OkStatus();
  }

  int64_t ParseCount() {
    int64_t count = 0;
    for (; Peek() >= '0' && Peek() <= '9'; rest_.remove_prefix(1)) {
      count = std::min(count * 10 + (Peek() - '0'), kMaxRepetition + 1);
    }
    return count;
  }

  absl::StatusOr<PatternGrammar> ParseClass() {
    const bool negated = Take("^");
    std::vector<CodePointRange> ranges;
    while (!Take("]")) {
      FEDGLM_ASSIGN_OR_RETURN(const CharacterSet low, ParseClassItem());
      const bool one = low.size() == 1 && low[0].low == low[0].high;
      if (one && Peek() == '-' && rest_.size() > 1 && rest_[1] != ']') {
        Take("-");
        FEDGLM_ASSIGN_OR_RETURN(const CharacterSet high, ParseClassItem());
        if (high.size() != 1 || high[0].low != high[0].high || high[0].low < low[0].low) {
          return Error("a range of characters that is none");
        }
        ranges.push_back({low[0].low, high[0].high});
      } else {
        ranges.insert(ranges.end(), low.begin(), low.end());
      }
    }
    CharacterSet set = Normalized(std::move(ranges));
    return OneCharacter(negated ? Complement(set) : set);
  }

  absl::StatusOr<CharacterSet> ParseClassItem() {
    if (Take("\\")) return ParseEscape(/*in_class=*/true);
    CodePoint character = 0;
    if (rest_.empty()) return Error("a class that does not end");
    if (!TakeUtf8(rest_, character)) return Error("bytes that are not UTF-8");
    return CharacterSet{{character, character}};
  }

  absl::StatusOr<CharacterSet> ParseEscape(bool in_class) {
    CodePoint character = 0;
    if (!TakeUtf8(rest_, character)) return Error("a '\\' at its end");
    switch (character) {
      case 'd':
        return Digits();
      case 'D':
        return Complement(Digits());
      case 'w':
        return WordCharacters();
      case 'W':
        return Complement(WordCharacters());
      case 's':
        return Spaces();
      case 'S':
        return Complement(Spaces());
      case 't':
        return CharacterSet{{'\t', '\t'}};
      case 'n':
        return CharacterSet{{'\n', '\n'}};
      case 'r':
        return CharacterSet{{'\r', '\r'}};
      case 'f':
        return CharacterSet{{'\f', '\f'}};
      case 'v':
        return CharacterSet{{'\v', '\v'}};
      case '0':
        return CharacterSet{{0, 0}};
      case 'x':
        return ParseHexadecimal(2);
      case 'u':
        return ParseHexadecimal(4);
      default:
        break;
    }
    if (character == 'b' && in_class) return CharacterSet{{'\b', '\b'}};
    const bool alphanumeric = Contains(WordCharacters(), character) && character != '_';
    if (alphanumeric)
      return Error(std::string("the escape \\") + static_cast<char>(character) + ", which is not supported");
    return CharacterSet{{character, character}};
  }

  absl::StatusOr<CharacterSet> ParseHexadecimal(int digits) {
    CodePoint character = 0;
    const bool braces = digits == 4 && Take("{");
    int count = 0;
    for (; count < (braces ? 6 : digits); ++count) {
      const char c = Peek();
      const bool digit = c >= '0' && c <= '9', letter = (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
      if (!digit && !letter) break;
      character = character << 4 | static_cast<CodePoint>(digit ? c - '0' : (c | 0x20) - 'a' + 10);
      rest_.remove_prefix(1);
    }
    const bool complete = braces ? count > 0 && Take("}") : count == digits;
    if (!complete || character > kMaxCodePoint) return Error("a bad hexadecimal escape");
    return Normalized({{character, character}});  // empty for half of a surrogate pair
  }

  std::string_view rest_;
};

}  // namespace

absl::StatusOr<PatternGrammar> PatternToGrammar(std::string_view pattern) { return PatternParser(pattern).Parse(); }

}  // namespace fedglm
