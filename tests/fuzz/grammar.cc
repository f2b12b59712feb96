#include "inference/grammar/grammar.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "tests/fuzz/fuzz_targets.h"
#include "tests/fuzz/golden_tokenizer.h"

namespace fedglm::fuzz {
namespace {

// An answer of up to 24 tokens, each chosen among those that may come by two bytes of the input; true if it came to its
// end.
bool Write(std::shared_ptr<const fedglm::Grammar> grammar, std::string_view choices, std::string& text) {
  static const auto trie = BuildTokenTrie(GoldenTokenizer());
  const auto constraint = MakeConstraint(std::move(grammar), trie);
  std::vector<float> logits(static_cast<size_t>(GoldenTokenizer().size()));
  for (int step = 0; step < 24; ++step) {
    std::fill(logits.begin(), logits.end(), 0.0f);
    constraint->Mask(logits);
    std::vector<Token> allowed;
    for (size_t i = 0; i < logits.size(); ++i) {
      if (!std::isinf(logits[i])) allowed.push_back(static_cast<Token>(i));
    }
    Require(!allowed.empty(), "some token may come");
    const Token token = allowed[(TakeByte(choices) * 257 + TakeByte(choices)) % allowed.size()];
    if (GoldenTokenizer().EndsGeneration(token)) return true;
    text += GoldenTokenizer().Piece(token);
    constraint->Accept(token);
  }
  return false;
}

}  // namespace

// The first byte: GBNF or a JSON schema; the grammar, to NUL; then which tokens are taken.
void Grammar(std::string_view input) {
  const bool schema = (TakeByte(input) & 1) != 0;
  std::string gbnf(TakeField(input));
  if (schema) {
    const auto json = ParseJson(gbnf, "schema");
    if (!json.ok()) return;
    const auto converted = JsonSchemaToGrammar(*json);
    if (!WasRead(converted.status(), ExitCode::kUsage)) return;
    gbnf = *converted;
  }
  const auto grammar = ParseGrammar(gbnf);
  if (!WasRead(grammar.status(), ExitCode::kUsage)) return;
  (void)Matches(**grammar, input);
  std::string text;
  if (!Write(*grammar, input, text)) return;
  // An answer ends early where no token of the vocabulary can go on; this one spells every byte.
  Require(Matches(**grammar, text), "a whole answer is one that the grammar allows");
  if (schema) Require(ParseJson(text, "answer").ok(), "an answer under a schema is JSON");
}

}  // namespace fedglm::fuzz
