// Constrained decoding: a grammar says which texts an answer may be, and at every step which tokens can come next.
// The notation is GBNF, llama.cpp's: https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md
// Supported notation and JSON Schema keywords: docs/grammar.md.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_forward.h"
#include "base/status.h"
#include "inference/sampling/token_constraint.h"
#include "inference/tokenizer/tokenizer.h"

namespace fedglm {

// Immutable; thread-safe.
class Grammar;

// UsageError of one line that names the line of `gbnf`: bad notation, a rule that is missing, left-recursive or can
// never end, or more than a grammar may have (text, rules, nesting, repetition, states). Linear in what it accepts.
absl::StatusOr<std::shared_ptr<const Grammar>> ParseGrammar(std::string_view gbnf);

// The grammar, as GBNF, of the JSON texts that are valid under `schema` (JSON Schema 2020-12 and draft 7, in part), its
// properties in the schema's order. Everything it allows is valid; it may allow less than the schema does. UsageError
// naming the place (#/properties/age) where the schema can have no value or says what is not supported.
absl::StatusOr<std::string> JsonSchemaToGrammar(const Json& schema);

// Any JSON object, as response_format {"type": "json_object"} wants it.
std::string JsonObjectGrammar();
// Any JSON value.
std::string AnyJsonGrammar();

// "json" (any JSON value) and "autoglm" (Open-AutoGLM's replies, inference/autoglm). UsageError for another name.
absl::StatusOr<std::shared_ptr<const Grammar>> FindBuiltinGrammar(std::string_view name);

// Whether `text` as a whole is one that the grammar allows.
bool Matches(const Grammar& grammar, std::string_view text);

// A vocabulary ordered by its tokens' bytes, so that one walk finds all that can come next. Immutable; thread-safe.
// Built once for a tokenizer (some 50 ms for 150,000 tokens) and shared by all its answers.
class TokenTrie;
std::shared_ptr<const TokenTrie> BuildTokenTrie(const Tokenizer& tokenizer);

// The constraint for one answer, from its first token, or after `begun`, a beginning that the grammar allows. Control
// tokens never come; end-of-generation tokens come exactly where the text is complete, and also where no token of the
// vocabulary can go on. Work per token is bounded whatever the grammar: one that is too ambiguous gets fewer choices,
// never wrong ones.
std::shared_ptr<TokenConstraint> MakeConstraint(std::shared_ptr<const Grammar> grammar,
                                                std::shared_ptr<const TokenTrie> trie, std::string_view begun = {});

// A grammar for the rest of a text that begins with `text`.
struct GrammarTrigger {
  std::string text;  // not empty
  std::shared_ptr<const Grammar> grammar;
};

// A lazy constraint: an answer is free, also of control tokens, unless it begins with the text of a trigger; from there
// on its grammar holds. No trigger's text begins another's.
std::shared_ptr<TokenConstraint> MakeTriggeredConstraint(std::vector<GrammarTrigger> triggers,
                                                         std::shared_ptr<const TokenTrie> trie);

}  // namespace fedglm
