// The two families of tokenizers. Private to this folder; Tokenizer::FromGguf chooses.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "inference/gguf/gguf_file.h"
#include "inference/tokenizer/tokenizer.h"
#include "inference/tokenizer/vocabulary.h"

namespace fedglm {

// What both families answer from the vocabulary alone.
class VocabularyTokenizer : public Tokenizer {
 public:
  explicit VocabularyTokenizer(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}

  std::string Piece(Token token, bool render_special) const override;
  int64_t size() const override { return vocabulary_.size(); }
  bool IsControl(Token token) const override { return vocabulary_.IsControl(token); }
  std::optional<Token> Find(std::string_view text) const override { return vocabulary_.Find(text); }

 protected:
  const Vocabulary vocabulary_;

 private:
  // The bytes that a token stands for, of its name in the vocabulary.
  virtual std::string Unescape(const std::string& text) const = 0;
};

// `pre`: the name of its pre-tokenizer.
absl::StatusOr<std::shared_ptr<const Tokenizer>> MakeBpeTokenizer(const GgufFile& file, Vocabulary vocabulary,
                                                                  const std::string& pre);
absl::StatusOr<std::shared_ptr<const Tokenizer>> MakeSentencePieceTokenizer(const GgufFile& file,
                                                                            Vocabulary vocabulary);

// SentencePiece writes spaces as ▁, and bytes of characters that it does not know as <0x0A>.
std::string EscapeSpaces(std::string_view text);
std::string UnescapeSpaces(std::string_view text);
std::string ByteTokenName(unsigned char byte);
std::optional<unsigned char> ByteOfTokenName(std::string_view name);  // nullopt if it is no such name
// The first character of `text`, or its first byte if that begins none: texts need not be valid UTF-8.
std::string_view FirstCharacter(std::string_view text);

}  // namespace fedglm
