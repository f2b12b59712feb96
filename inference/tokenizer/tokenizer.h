// Text to token ids and back, from a GGUF's own vocabulary: byte-level BPE (tokenizer.ggml.model "gpt2") with the
// pre-tokenizer that tokenizer.ggml.pre names, BPE over characters ("gemma4"), and SentencePiece ("llama"). WordPiece,
// unigram and RWKV vocabularies are refused.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "inference/gguf/gguf_file.h"
#include "inference/gguf/token.h"

namespace fedglm {

struct EncodeOptions {
  bool add_special = true;     // BOS and EOS as the GGUF says (tokenizer.ggml.add_bos_token …)
  bool parse_special = false;  // control tokens spelled in the text become their ids
  // User-defined tokens become their ids always: a vocabulary may have its runs of spaces there. false keeps those that
  // look like markup (<|user|>, [INST]) as text: for what others wrote, such as chat content.
  bool user_defined = true;
  bool space_prefix = true;  // SentencePiece puts a space before a text; false for one that continues another
};

// Immutable; thread-safe.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  // BadFile if the vocabulary is missing, inconsistent (merges that name no token, ids out of range…) or of a family
  // that is not supported.
  static absl::StatusOr<std::shared_ptr<const Tokenizer>> FromGguf(const GgufFile& file);

  virtual std::vector<Token> Encode(std::string_view text, const EncodeOptions& options) const = 0;
  // The bytes of one token; empty for control tokens unless `render_special`.
  virtual std::string Piece(Token token, bool render_special = false) const = 0;
  // The text of `tokens` from its beginning: without the space that SentencePiece puts before a text.
  std::string Decode(const std::vector<Token>& tokens, bool render_special = false) const;

  virtual int64_t size() const = 0;
  virtual bool IsControl(Token token) const = 0;
  virtual std::optional<Token> Find(std::string_view piece_text) const = 0;  // a token's exact text in the vocabulary
  std::optional<Token> bos() const { return bos_; }
  std::optional<Token> eos() const { return eos_; }
  bool adds_bos() const { return add_bos_; }
  // Tokens that end a turn: EOS, EOT and their like in this vocabulary (<|user|>, <|im_end|>, <|eot_id|>…).
  bool EndsGeneration(Token token) const;

 protected:
  std::optional<Token> bos_, eos_;
  bool add_bos_ = false, add_eos_ = false;
  bool space_prefix_ = false;      // a space is put before a text
  std::vector<Token> end_tokens_;  // sorted
};

}  // namespace fedglm
