#include "inference/tokenizer/tokenizer.h"

#include <memory>
#include <string>

#include "inference/gguf/gguf_file.h"
#include "tests/fuzz/fuzz_targets.h"

namespace fedglm::fuzz {
namespace {

std::shared_ptr<const fedglm::Tokenizer> Open(const char* file) {
  const auto gguf = GgufFile::Open(std::string(FEDGLM_SOURCE_DIR) + "/tests/data/" + file);
  Require(gguf.ok(), "the golden file is there");
  const auto tokenizer = fedglm::Tokenizer::FromGguf(**gguf);
  Require(tokenizer.ok(), "the golden vocabulary is one");
  return *tokenizer;
}

}  // namespace

// The first byte: which vocabulary, and how.
void Tokenizer(std::string_view input) {
  static const auto bytes = Open("golden/glm4-tiny-q4_k_m.gguf");
  static const auto sentencepiece = Open("tokenizers/ggml-vocab-llama-spm.gguf");
  const unsigned choice = TakeByte(input);
  const fedglm::Tokenizer& tokenizer = (choice & 1) != 0 ? *sentencepiece : *bytes;
  const EncodeOptions options = {.add_special = (choice & 2) != 0,
                                 .parse_special = (choice & 4) != 0,
                                 .user_defined = (choice & 8) != 0,
                                 .space_prefix = (choice & 16) != 0};
  const std::vector<Token> tokens = tokenizer.Encode(input, options);
  for (const Token token : tokens) Require(token >= 0 && token < tokenizer.size(), "a token is one of the vocabulary");
  const std::string text = tokenizer.Decode(tokens, true);
  // The bytes' vocabulary spells every text, valid UTF-8 or not.
  if (&tokenizer == bytes.get() && !options.add_special) Require(text == input, "text becomes tokens becomes text");
}

}  // namespace fedglm::fuzz
