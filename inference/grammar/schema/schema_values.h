// The types of a JSON Schema's values, each as the grammar of its texts. Private to this folder.
#pragma once

#include <functional>
#include <string>

#include "base/json.h"
#include "inference/grammar/schema/schema_grammar.h"

namespace fedglm {

// The grammar of a value that stands inside another one, whose place is `path`.
using InnerGrammar = std::function<GrammarText(const Json& schema, const std::string& path)>;

// Each writes the rules that it needs into `grammar` and returns what calls them. NoValue where the keywords contradict
// each other; Unsupported for what is right and cannot be kept.
GrammarText ObjectGrammar(const Json& schema, const std::string& path, const InnerGrammar& inner,
                          SchemaGrammar& grammar);
GrammarText ArrayGrammar(const Json& schema, const std::string& path, const InnerGrammar& inner,
                         SchemaGrammar& grammar);
GrammarText StringGrammar(const Json& schema, const std::string& path);
GrammarText NumberGrammar(const Json& schema, bool integers, const std::string& path);

}  // namespace fedglm
