#include "inference/tokenizer/tokenizer.h"

#include <string>

#include "tests/fuzz/fuzz_targets.h"
#include "tests/fuzz/golden_tokenizer.h"

namespace fedglm::fuzz {

// The first byte: which vocabulary, and how.
void Tokenizer(std::string_view input) {
  static const auto sentencepiece = OpenTokenizer("tokenizers/ggml-vocab-llama-spm.gguf");
  const unsigned choice = TakeByte(input);
  const fedglm::Tokenizer& tokenizer = (choice & 1) != 0 ? *sentencepiece : GoldenTokenizer();
  const EncodeOptions options = {.add_special = (choice & 2) != 0,
                                 .parse_special = (choice & 4) != 0,
                                 .user_defined = (choice & 8) != 0,
                                 .space_prefix = (choice & 16) != 0};
  const std::vector<Token> tokens = tokenizer.Encode(input, options);
  for (const Token token : tokens) Require(token >= 0 && token < tokenizer.size(), "a token is one of the vocabulary");
  const std::string text = tokenizer.Decode(tokens, true);
  // The bytes' vocabulary spells every text, valid UTF-8 or not.
  if (&tokenizer == &GoldenTokenizer() && !options.add_special)
    Require(text == input, "text becomes tokens becomes text");
}

}  // namespace fedglm::fuzz
