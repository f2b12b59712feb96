// The two families of tokenizers. Private to this folder; Tokenizer::FromGguf chooses.
#pragma once

#include <memory>

#include "base/status.h"
#include "inference/gguf/gguf_file.h"
#include "inference/tokenizer/tokenizer.h"
#include "inference/tokenizer/vocabulary.h"

namespace fedglm {

absl::StatusOr<std::shared_ptr<const Tokenizer>> MakeBpeTokenizer(const GgufFile& file, Vocabulary vocabulary);
absl::StatusOr<std::shared_ptr<const Tokenizer>> MakeSentencePieceTokenizer(const GgufFile& file, Vocabulary vocabulary);

}  // namespace fedglm
