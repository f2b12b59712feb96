#include "inference/api/output_grammar.h"

#include <cctype>

#include "inference/api/api_error.h"

namespace fedglm {
namespace {

// Where the literal, character class or comment that begins at `at` ends.
size_t EndOfLiteral(std::string_view gbnf, size_t at) {
  const char close = gbnf[at] == '[' ? ']' : gbnf[at] == '#' ? '\n' : '"';
  for (size_t i = at + 1; i < gbnf.size(); ++i) {
    if (gbnf[i] == close) return i + 1;
    if (gbnf[i] == '\\' && close != '\n') ++i;
  }
  return gbnf.size();
}

bool IsNameByte(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_'; }

absl::StatusOr<std::string> FormatText(const AnswerOptions& options) {
  if (options.format == AnswerFormat::kJsonObject) return JsonObjectGrammar();
  const absl::StatusOr<std::string> text = JsonSchemaToGrammar(options.schema);
  if (!text.ok()) {
    return ParameterError("response_format.json_schema.schema", Message(text.status()), "unsupported_schema");
  }
  return text;
}

// The rules of one alternative of the whole: its first rule is "<prefix>root".
void AddAlternative(const std::string& lead, const std::string& prefix, std::string_view gbnf, std::string& root,
                    std::string& rules) {
  root += (root.empty() ? "" : " | ") + lead + " " + prefix + "root";
  rules += PrefixRules(gbnf, prefix) + "\n";
}

// A call's first line: the tool's name. What ToolCallSplitter looks for.
std::string CallLine(const Tool& tool) { return tool.name + "\n"; }

// The arguments of tools[index], as GBNF.
absl::StatusOr<std::string> ArgumentsGrammar(const std::vector<Tool>& tools, size_t index, ToolUse use) {
  const absl::StatusOr<std::string> arguments = JsonSchemaToGrammar(tools[index].parameters);
  if (arguments.ok()) return arguments;
  if (use == ToolUse::kAuto && !tools[index].strict) return JsonObjectGrammar();
  return ParameterError("tools[" + std::to_string(index) + "].function.parameters", Message(arguments.status()),
                        "unsupported_schema");
}

absl::StatusOr<std::string> ToolGrammarText(const AnswerOptions& options, const std::vector<Tool>& tools,
                                            const ToolChoice& choice) {
  std::string root, rules;
  for (size_t i = 0; i < tools.size(); ++i) {
    if (!choice.name.empty() && tools[i].name != choice.name) continue;
    FEDGLM_ASSIGN_OR_RETURN(const std::string arguments, ArgumentsGrammar(tools, i, choice.use));
    AddAlternative("\"" + tools[i].name + "\\n\"", "tool" + std::to_string(i) + "-", arguments, root, rules);
  }
  if (choice.use == ToolUse::kAuto) {
    FEDGLM_ASSIGN_OR_RETURN(const std::string text, FormatText(options));
    AddAlternative("\"\\n\"?", "answer-", text, root, rules);
  }
  return "root ::= " + root + "\n" + rules;
}

// Text is free, a call that has begun is not.
absl::StatusOr<AnswerGrammar> LazyCalls(const std::vector<Tool>& tools) {
  AnswerGrammar answer;
  for (size_t i = 0; i < tools.size(); ++i) {
    FEDGLM_ASSIGN_OR_RETURN(const std::string arguments, ArgumentsGrammar(tools, i, ToolUse::kAuto));
    auto grammar = ParseGrammar(arguments);
    if (!grammar.ok()) {
      return ParameterError("tools[" + std::to_string(i) + "].function.parameters", Message(grammar.status()),
                            "unsupported_schema");
    }
    answer.calls.push_back({CallLine(tools[i]), *std::move(grammar)});
  }
  return answer;
}

}  // namespace

std::string PrefixRules(std::string_view gbnf, std::string_view prefix) {
  std::string renamed;
  for (size_t at = 0; at < gbnf.size();) {
    const char c = gbnf[at];
    size_t end = at + 1;
    if (c == '"' || c == '[' || c == '#') {
      end = EndOfLiteral(gbnf, at);
    } else if (IsNameByte(c)) {
      while (end < gbnf.size() && IsNameByte(gbnf[end])) ++end;
      if (std::isdigit(static_cast<unsigned char>(c)) == 0) renamed += prefix;  // else a count: {2,5}
    }
    renamed += gbnf.substr(at, end - at);
    at = end;
  }
  return renamed;
}

std::shared_ptr<TokenConstraint> AnswerGrammar::Constrain(const std::shared_ptr<const TokenTrie>& trie) const {
  if (whole != nullptr) return MakeConstraint(whole, trie);
  return calls.empty() ? nullptr : MakeTriggeredConstraint(calls, trie);
}

absl::StatusOr<AnswerGrammar> OutputGrammar(const AnswerOptions& options, const std::vector<Tool>& tools,
                                            const ToolChoice& choice) {
  if (options.format == AnswerFormat::kGrammar) {
    const bool is_name = options.grammar.find("::=") == std::string::npos;
    auto grammar = is_name ? FindBuiltinGrammar(options.grammar) : ParseGrammar(options.grammar);
    if (!grammar.ok()) return ParameterError("grammar", Message(grammar.status()));
    return AnswerGrammar{*std::move(grammar)};
  }
  const bool call_must_come = !tools.empty() && choice.use == ToolUse::kRequired;
  if (options.format == AnswerFormat::kText && !call_must_come) return LazyCalls(tools);
  std::string text;
  if (tools.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(text, FormatText(options));
  } else {
    FEDGLM_ASSIGN_OR_RETURN(text, ToolGrammarText(options, tools, choice));
  }
  auto grammar = ParseGrammar(text);
  if (!grammar.ok()) {
    return ParameterError(tools.empty() ? "response_format" : "tools", Message(grammar.status()), "unsupported_schema");
  }
  return AnswerGrammar{*std::move(grammar)};
}

}  // namespace fedglm
