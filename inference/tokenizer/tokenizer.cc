#include "inference/tokenizer/tokenizer.h"

#include <algorithm>

#include "inference/tokenizer/families.h"

namespace fedglm {

absl::StatusOr<std::shared_ptr<const Tokenizer>> Tokenizer::FromGguf(const GgufFile& file) {
  FEDGLM_ASSIGN_OR_RETURN(const std::string model, file.RequireString("tokenizer.ggml.model"));
  FEDGLM_ASSIGN_OR_RETURN(Vocabulary vocabulary, Vocabulary::FromGguf(file));
  if (model == "gpt2") return MakeBpeTokenizer(file, std::move(vocabulary));
  if (model == "llama") return MakeSentencePieceTokenizer(file, std::move(vocabulary));
  return BadFileError(file.path().string() + ": tokenizer '" + model + "' is not supported (gpt2 and llama are)");
}

std::string Tokenizer::Decode(const std::vector<Token>& tokens, bool render_special) const {
  std::string text;
  for (const Token token : tokens) text += Piece(token, render_special);
  return text;
}

bool Tokenizer::EndsGeneration(Token token) const {
  return std::binary_search(end_tokens_.begin(), end_tokens_.end(), token);
}

}  // namespace fedglm
