// GBNF to automaton: the text becomes a tree for each rule, and the trees become states.
#include <algorithm>
#include <map>
#include <memory>

#include "base/utf8.h"
#include "inference/grammar/automaton.h"

namespace fedglm {
namespace {

constexpr size_t kMaxText = size_t{1} << 20;
constexpr size_t kMaxRules = size_t{1} << 16;
constexpr int kMaxNesting = 128;
constexpr int kMaxOperators = 4;  // in a row
constexpr int64_t kMaxRepetition = 10'000;
constexpr int64_t kUnbounded = -1;

struct Expression {
  enum class Kind { kBytes, kCharacters, kRule, kSequence, kAlternatives, kRepetition };
  Kind kind = Kind::kSequence;
  std::string bytes = {};
  CharacterSet characters = {};
  RuleId rule = 0;
  std::vector<Expression> parts = {};  // of a repetition: one
  int64_t at_least = 0;
  int64_t at_most = kUnbounded;
};

// Writes the states of an expression. Work per call is bounded by the builder's limits and the nesting.
class Compiler {
 public:
  // `rule`: whose body is compiled, as messages shall name it.
  Compiler(GrammarBuilder& builder, RuleId rule) : builder_(builder), rule_(rule) {}

  void CompileRule(RuleId rule, const Expression& body) {
    builder_.AddEpsilon(Compile(body, builder_.start(rule)), builder_.end(rule));
  }

 private:
  // Adds moves that begin at `from`, into which no move of this expression leads back; returns where they end.
  StateId Compile(const Expression& expression, StateId from) {
    if (builder_.TooLarge()) return from;
    switch (expression.kind) {
      case Expression::Kind::kBytes:
        return builder_.AddBytes(from, expression.bytes);
      case Expression::Kind::kCharacters: {
        const StateId to = builder_.AddState();
        builder_.AddCharacters(from, expression.characters, to);
        return to;
      }
      case Expression::Kind::kRule: {
        const StateId to = builder_.AddState();
        builder_.AddCall(from, expression.rule, to);
        return to;
      }
      case Expression::Kind::kSequence:
        for (const Expression& part : expression.parts) from = Compile(part, from);
        return from;
      case Expression::Kind::kAlternatives: {
        const StateId to = builder_.AddState();
        for (const Expression& part : expression.parts) builder_.AddEpsilon(Compile(part, from), to);
        return to;
      }
      case Expression::Kind::kRepetition:
        return CompileRepetition(expression, from);
    }
    return from;
  }

  StateId CompileRepetition(const Expression& expression, StateId from) {
    const bool unbounded = expression.at_most == kUnbounded;
    const Expression* part = &expression.parts[0];
    const bool is_short = part->kind == Expression::Kind::kRule ||
                          (part->kind == Expression::Kind::kCharacters && part->characters.size() <= 16);
    Expression call;
    if ((unbounded ? expression.at_least : expression.at_most) > 1 && !is_short) {
      // A rule of its own, so that each copy is one move, and so are its copies if this one is repeated in turn.
      call = {.kind = Expression::Kind::kRule, .rule = builder_.AddPartOf(rule_)};
      CompileRule(call.rule, *part);
      part = &call;
    }
    const int64_t copies = unbounded ? std::max<int64_t>(expression.at_least - 1, 0) : expression.at_least;
    for (int64_t i = 0; i < copies; ++i) from = Compile(*part, from);
    const StateId next = builder_.AddState();
    if (unbounded) {
      builder_.AddEpsilon(from, next);
      const StateId after = Compile(*part, next);
      builder_.AddEpsilon(after, next);
      return expression.at_least == 0 ? next : after;
    }
    for (int64_t i = copies; i < expression.at_most && !builder_.TooLarge(); ++i) {
      builder_.AddEpsilon(from, next);
      from = Compile(*part, from);
    }
    builder_.AddEpsilon(from, next);
    return next;
  }

  GrammarBuilder& builder_;
  const RuleId rule_;
};

class GbnfParser {
 public:
  explicit GbnfParser(std::string_view text) : rest_(text) {}

  absl::StatusOr<std::shared_ptr<const Grammar>> Parse() {
    if (rest_.size() > kMaxText) return UsageError("the grammar is longer than 1 MiB");
    SkipSpace(/*newlines=*/true);
    while (!rest_.empty()) {
      FEDGLM_RETURN_IF_ERROR(ParseRule());
      SkipSpace(/*newlines=*/true);
    }
    for (const auto& [name, rule] : rules_) {
      if (!rule.defined) return UsageError(At(rule.line) + "rule '" + name + "' is used but not defined");
    }
    const auto root = rules_.find("root");
    if (root == rules_.end()) return UsageError("the grammar has no rule 'root'");
    return builder_.Build(root->second.id);
  }

 private:
  struct RuleName {
    RuleId id = 0;
    int64_t line = 0;
    bool defined = false;
  };

  static std::string At(int64_t line) { return "line " + std::to_string(line) + ": "; }
  absl::Status Error(std::string_view what) const { return UsageError(At(line_) + std::string(what)); }

  char Peek() const { return rest_.empty() ? '\0' : rest_[0]; }
  bool Take(std::string_view expected) {
    if (!rest_.starts_with(expected)) return false;
    rest_.remove_prefix(expected.size());
    return true;
  }

  // Blanks and comments, and the ends of lines if `newlines`.
  void SkipSpace(bool newlines) {
    while (!rest_.empty()) {
      const char c = rest_[0];
      if (c == '#') {
        const size_t end = rest_.find_first_of("\r\n");
        rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end);
        continue;
      }
      if (c == '\n' || c == '\r') {
        if (!newlines) return;
        line_ += c == '\n' ? 1 : 0;
      } else if (c != ' ' && c != '\t') {
        return;
      }
      rest_.remove_prefix(1);
    }
  }

  static bool IsNameCharacter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  }
  std::string TakeName() {
    size_t size = 0;
    while (size < rest_.size() && IsNameCharacter(rest_[size])) ++size;
    std::string name(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return name;
  }

  absl::StatusOr<RuleName*> FindRule(const std::string& name) {
    const auto [found, is_new] = rules_.try_emplace(name);
    if (is_new) {
      if (rules_.size() > kMaxRules) return Error("the grammar has more than " + std::to_string(kMaxRules) + " rules");
      found->second.id = builder_.AddRule(name, line_);
      found->second.line = line_;
    }
    return &found->second;
  }

  absl::Status ParseRule() {
    const std::string name = TakeName();
    if (name.empty()) return Error("a rule was expected: name ::= …");
    FEDGLM_ASSIGN_OR_RETURN(RuleName* const rule, FindRule(name));
    if (rule->defined) return Error("rule '" + name + "' is there twice");
    rule->defined = true;
    builder_.SetLine(rule->id, line_);
    const RuleId id = rule->id;
    SkipSpace(/*newlines=*/false);
    if (!Take("::=")) return Error("'::=' was expected after '" + name + "'");
    SkipSpace(/*newlines=*/true);
    FEDGLM_ASSIGN_OR_RETURN(const Expression body, ParseAlternatives(0));
    if (!rest_.empty() && Peek() != '\n' && Peek() != '\r') {
      return Error("'" + std::string(rest_.substr(0, 1)) + "' was not expected here");
    }
    Compiler(builder_, id).CompileRule(id, body);
    if (builder_.TooLarge()) return Error("with rule '" + name + "' the grammar is too large");
    return absl::OkStatus();
  }

  absl::StatusOr<Expression> ParseAlternatives(int nesting) {
    if (nesting > kMaxNesting) return Error("groups are nested too deeply");
    Expression alternatives = {.kind = Expression::Kind::kAlternatives};
    do {
      if (!alternatives.parts.empty()) SkipSpace(/*newlines=*/true);
      FEDGLM_ASSIGN_OR_RETURN(Expression sequence, ParseSequence(nesting));
      alternatives.parts.push_back(std::move(sequence));
    } while (Take("|"));
    if (alternatives.parts.size() == 1) return std::move(alternatives.parts[0]);
    return alternatives;
  }

  absl::StatusOr<Expression> ParseSequence(int nesting) {
    Expression sequence = {.kind = Expression::Kind::kSequence};
    for (;;) {
      SkipSpace(/*newlines=*/nesting > 0);
      const char c = Peek();
      Expression item;
      if (c == '"') {
        FEDGLM_ASSIGN_OR_RETURN(item, ParseText());
      } else if (c == '[') {
        FEDGLM_ASSIGN_OR_RETURN(item, ParseCharacters());
      } else if (c == '.') {
        Take(".");
        item = {.kind = Expression::Kind::kCharacters, .characters = Complement({})};
      } else if (c == '(') {
        const int64_t line = line_;
        Take("(");
        FEDGLM_ASSIGN_OR_RETURN(item, ParseAlternatives(nesting + 1));
        if (!Take(")")) return UsageError(At(line) + "')' is missing for this group");
      } else if (IsNameCharacter(c)) {
        FEDGLM_ASSIGN_OR_RETURN(RuleName* const rule, FindRule(TakeName()));
        item = {.kind = Expression::Kind::kRule, .rule = rule->id};
      } else if (c == '<' || c == '!') {
        return Error("tokens (<think>, <[1000]>) are not supported: write their text");
      } else {
        return sequence;
      }
      FEDGLM_RETURN_IF_ERROR(ParseRepetitions(item));
      sequence.parts.push_back(std::move(item));
    }
  }

  absl::StatusOr<int64_t> ParseCount() {
    int64_t count = 0;
    if (Peek() < '0' || Peek() > '9') return Error("a number was expected in {…}");
    while (Peek() >= '0' && Peek() <= '9') {
      count = std::min(count * 10 + (Peek() - '0'), kMaxRepetition + 1);
      rest_.remove_prefix(1);
    }
    if (count > kMaxRepetition)
      return Error("at most " + std::to_string(kMaxRepetition) + " repetitions are supported");
    return count;
  }

  // The operators after `item`, which becomes what they make of it.
  absl::Status ParseRepetitions(Expression& item) {
    for (int count = 0;; ++count) {
      SkipSpace(/*newlines=*/false);
      int64_t at_least = 0, at_most = kUnbounded;
      if (Take("+")) {
        at_least = 1;
      } else if (Take("?")) {
        at_most = 1;
      } else if (Take("{")) {
        SkipSpace(/*newlines=*/false);
        FEDGLM_ASSIGN_OR_RETURN(at_least, ParseCount());
        SkipSpace(/*newlines=*/false);
        at_most = at_least;
        if (Take(",")) {
          SkipSpace(/*newlines=*/false);
          at_most = kUnbounded;
          if (Peek() != '}') {
            FEDGLM_ASSIGN_OR_RETURN(at_most, ParseCount());
          }
          SkipSpace(/*newlines=*/false);
        }
        if (!Take("}")) return Error("'}' was expected");
        if (at_most != kUnbounded && at_most < at_least) return Error("{m,n} needs m <= n");
      } else if (!Take("*")) {
        return absl::OkStatus();
      }
      if (count >= kMaxOperators) return Error("too many operators in a row");
      Expression repeated = {.kind = Expression::Kind::kRepetition, .at_least = at_least, .at_most = at_most};
      repeated.parts.push_back(std::move(item));
      item = std::move(repeated);
    }
  }

  absl::StatusOr<Expression> ParseText() {
    Take("\"");
    Expression text = {.kind = Expression::Kind::kBytes};
    while (!Take("\"")) {
      CodePoint character = 0;
      FEDGLM_RETURN_IF_ERROR(ParseCharacter(character));
      AppendUtf8(text.bytes, character);
    }
    return text;
  }

  absl::StatusOr<Expression> ParseCharacters() {
    Take("[");
    const bool negated = Take("^");
    std::vector<CodePointRange> ranges;
    while (!Take("]")) {
      CodePointRange range;
      FEDGLM_RETURN_IF_ERROR(ParseCharacter(range.low));
      range.high = range.low;
      if (Peek() == '-' && rest_.size() > 1 && rest_[1] != ']') {
        Take("-");
        FEDGLM_RETURN_IF_ERROR(ParseCharacter(range.high));
        if (range.high < range.low) return Error("a range of characters ends before it begins");
      }
      ranges.push_back(range);
    }
    CharacterSet set = Normalized(std::move(ranges));
    if (negated) set = Complement(set);
    return Expression{.kind = Expression::Kind::kCharacters, .characters = std::move(set)};
  }

  // One character of a text or of a class.
  absl::Status ParseCharacter(CodePoint& character) {
    if (rest_.empty() || Peek() == '\n' || Peek() == '\r') return Error("the line ends within a text or a class");
    if (!Take("\\")) {
      return TakeUtf8(rest_, character) ? absl::OkStatus() : Error("the grammar is not valid UTF-8");
    }
    const char escape = Peek();
    if (!rest_.empty()) rest_.remove_prefix(1);
    switch (escape) {
      case 'x':
        return ParseHexadecimal(2, character);
      case 'u':
        return ParseHexadecimal(4, character);
      case 'U':
        return ParseHexadecimal(8, character);
      case 't':
        character = '\t';
        return absl::OkStatus();
      case 'r':
        character = '\r';
        return absl::OkStatus();
      case 'n':
        character = '\n';
        return absl::OkStatus();
      case '\\':
      case '"':
      case '[':
      case ']':
      case '-':
      case '^':
        character = static_cast<unsigned char>(escape);
        return absl::OkStatus();
      default:
        return Error("an unknown escape: \\" + std::string(escape >= ' ' && escape <= '~' ? 1 : 0, escape));
    }
  }

  absl::Status ParseHexadecimal(int digits, CodePoint& character) {
    character = 0;
    for (int i = 0; i < digits; ++i) {
      const char c = Peek();
      const int value = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (value < 0) return Error("an escape needs " + std::to_string(digits) + " hexadecimal digits");
      character = character << 4 | static_cast<CodePoint>(value);
      rest_.remove_prefix(1);
    }
    if (character > kMaxCodePoint || (character >= 0xD800 && character <= 0xDFFF)) {
      return Error("an escape names no character");
    }
    return absl::OkStatus();
  }

  std::string_view rest_;
  int64_t line_ = 1;
  GrammarBuilder builder_;
  std::map<std::string, RuleName> rules_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const Grammar>> ParseGrammar(std::string_view gbnf) { return GbnfParser(gbnf).Parse(); }

}  // namespace fedglm
