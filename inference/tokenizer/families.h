// The two families of tokenizers. Private to this folder; Tokenizer::FromGguf chooses.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "inference/gguf/gguf_file.h"
#include "inference/tokenizer/tokenizer.h"
#include "inference/tokenizer/vocabulary.h"

namespace fedglm {

// `pre`: the name of its pre-tokenizer.
absl::StatusOr<std::shared_ptr<const Tokenizer>> MakeBpeTokenizer(const GgufFile& file, Vocabulary vocabulary,
                                                                  const std::string& pre);
absl::StatusOr<std::shared_ptr<const Tokenizer>> MakeSentencePieceTokenizer(const GgufFile& file, Vocabulary vocabulary);

// SentencePiece writes spaces as ▁, and bytes of characters that it does not know as <0x0A>.
std::string EscapeSpaces(std::string_view text);
std::string UnescapeSpaces(std::string_view text);
std::string ByteTokenName(unsigned char byte);
std::optional<unsigned char> ByteOfTokenName(std::string_view name);  // nullopt if it is no such name
// The first character of `text`, or its first byte if that begins none: texts need not be valid UTF-8.
std::string_view FirstCharacter(std::string_view text);

}  // namespace fedglm
