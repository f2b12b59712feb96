// Vocabularies of tests/data, for targets that read text.
#pragma once

#include <memory>
#include <string>

#include "inference/gguf/gguf_file.h"
#include "inference/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz_targets.h"
#include "tests/support/source_tree.h"

namespace fedglm::fuzz {

// `file`: below tests/data.
inline std::shared_ptr<const fedglm::Tokenizer> OpenTokenizer(const std::string& file) {
  const auto gguf = GgufFile::Open(SourceFolder().string() + "/tests/data/" + file);
  Require(gguf.ok(), "the golden file is there");
  const auto tokenizer = fedglm::Tokenizer::FromGguf(**gguf);
  Require(tokenizer.ok(), "the golden vocabulary is one");
  return *tokenizer;
}

// The golden models': bytes, and the control tokens of GLM-4.
inline const fedglm::Tokenizer& GoldenTokenizer() {
  static const auto tokenizer = OpenTokenizer("golden/glm4-tiny-q4_k_m.gguf");
  return *tokenizer;
}

}  // namespace fedglm::fuzz
