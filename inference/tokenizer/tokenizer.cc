#include "inference/tokenizer/tokenizer.h"

#include <algorithm>

#include "inference/tokenizer/families.h"

namespace fedglm {

absl::StatusOr<std::shared_ptr<const Tokenizer>> Tokenizer::FromGguf(const GgufFile& file) {
  FEDGLM_ASSIGN_OR_RETURN(const std::string model, file.RequireString("tokenizer.ggml.model"));
  const bool bpe = model == "gpt2" || model == "gemma4";
  if (!bpe && model != "llama") {
    return BadFileError(file.path().string() + ": tokenizer '" + model +
                        "' is not supported (gpt2, gemma4 and llama are)");
  }
  FEDGLM_ASSIGN_OR_RETURN(Vocabulary vocabulary, Vocabulary::FromGguf(file));
  if (!bpe) return MakeSentencePieceTokenizer(file, std::move(vocabulary));
  const std::string pre = model == "gemma4" ? "gemma4" : file.StringOr("tokenizer.ggml.pre", "");
  return MakeBpeTokenizer(file, std::move(vocabulary), pre);
}

std::string Tokenizer::Decode(const std::vector<Token>& tokens, bool render_special) const {
  std::string text;
  bool begun = false;
  for (const Token token : tokens) {
    std::string piece = Piece(token, render_special);
    if (IsControl(token)) {
      text += piece;
      continue;
    }
    if (!begun && space_prefix_ && piece.starts_with(' ')) piece.erase(0, 1);
    begun = true;
    text += piece;
  }
  return text;
}

std::string VocabularyTokenizer::Piece(Token token, bool render_special) const {
  if (!vocabulary_.Contains(token)) return "";
  const std::string& text = vocabulary_.text(token);
  switch (vocabulary_.kind(token)) {
    case TokenKind::kControl:
    case TokenKind::kUnknown:
      return render_special ? text : "";
    case TokenKind::kUserDefined:
      return text;
    case TokenKind::kByte:
      if (const auto byte = ByteOfTokenName(text)) return std::string(1, static_cast<char>(*byte));
      return text;
    default:
      return Unescape(text);
  }
}

bool Tokenizer::EndsGeneration(Token token) const {
  return std::binary_search(end_tokens_.begin(), end_tokens_.end(), token);
}

}  // namespace fedglm
