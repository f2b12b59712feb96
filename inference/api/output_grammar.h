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

// nullptr: the answer is free. ParameterError naming the field whose grammar or schema is wrong or not supported.
// With tools and a format the answer is either a call or a text of that format.
absl::StatusOr<std::shared_ptr<const Grammar>> OutputGrammar(const AnswerOptions& options,
                                                             const std::vector<Tool>& tools, const ToolChoice& choice);

// `gbnf` with `prefix` before the name of each of its rules, so that several grammars can stand in one.
std::string PrefixRules(std::string_view gbnf, std::string_view prefix);

}  // namespace fedglm
