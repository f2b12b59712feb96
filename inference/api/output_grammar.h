// From what a request says of its answer (response_format, grammar, tool_choice) to the grammar that makes it so.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "inference/api/answer_options.h"
#include "inference/api/tools.h"
#include "inference/grammar/grammar.h"

namespace fedglm {

// What an answer may be: anything, if all is empty.
struct AnswerGrammar {
  std::shared_ptr<const Grammar> whole;    // nullptr: the answer is free
  std::vector<GrammarTrigger> calls = {};  // of a free answer: once it has begun a call, its arguments

  // For one answer; nullptr if nothing is asked of it.
  std::shared_ptr<TokenConstraint> Constrain(const std::shared_ptr<const TokenTrie>& trie) const;
};

// ParameterError naming the field whose grammar or schema is wrong or not supported. With tools and a format the answer
// is either a call or a text of that format. Where the model may choose (tool_choice auto), a tool whose schema is not
// supported gets any JSON object for its arguments, unless it is "strict".
absl::StatusOr<AnswerGrammar> OutputGrammar(const AnswerOptions& options, const std::vector<Tool>& tools,
                                            const ToolChoice& choice);

// `gbnf` with `prefix` before the name of each of its rules, so that several grammars can stand in one.
std::string PrefixRules(std::string_view gbnf, std::string_view prefix);

}  // namespace fedglm
