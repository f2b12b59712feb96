// Small vocabularies made by hand, as the bytes of a GGUF without tensors.
#pragma once

#include <bit>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "inference/gguf/gguf_file.h"
#include "inference/tokenizer/byte_encoding.h"
#include "inference/tokenizer/tokenizer.h"

namespace fedglm {

class VocabularyBuilder {
 public:
  VocabularyBuilder& String(const std::string& key, std::string_view value) {
    Key(key, 8);
    Put(value);
    return *this;
  }
  VocabularyBuilder& Uint32(const std::string& key, uint32_t value) {
    Key(key, 4);
    Number(value, 4);
    return *this;
  }
  VocabularyBuilder& Bool(const std::string& key, bool value) {
    Key(key, 7);
    Number(value ? 1 : 0, 1);
    return *this;
  }
  VocabularyBuilder& Strings(const std::string& key, const std::vector<std::string>& values) {
    Array(key, 8, values.size());
    for (const std::string& value : values) Put(value);
    return *this;
  }
  VocabularyBuilder& Int32s(const std::string& key, const std::vector<int32_t>& values) {
    Array(key, 5, values.size());
    for (const int32_t value : values) Number(static_cast<uint32_t>(value), 4);
    return *this;
  }
  VocabularyBuilder& Float32s(const std::string& key, const std::vector<float>& values) {
    Array(key, 6, values.size());
    for (const float value : values) Number(std::bit_cast<uint32_t>(value), 4);
    return *this;
  }
  // An array that says it has `count` strings and holds none.
  VocabularyBuilder& EmptyPromise(const std::string& key, uint64_t count) {
    Array(key, 8, count);
    return *this;
  }

  absl::StatusOr<std::shared_ptr<const GgufFile>> File() {
    bytes_ = "GGUF";
    Append(bytes_, 3, 4);  // version
    Append(bytes_, 0, 8);  // tensors
    Append(bytes_, keys_, 8);
    bytes_ += metadata_;
    return GgufFile::Parse(std::as_bytes(std::span(bytes_)), "made by hand");
  }
  absl::StatusOr<std::shared_ptr<const Tokenizer>> Build() {
    const auto file = File();
    if (!file.ok()) return file.status();
    return Tokenizer::FromGguf(**file);
  }

 private:
  static void Append(std::string& out, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
  }
  void Number(uint64_t value, int bytes) { Append(metadata_, value, bytes); }
  void Put(std::string_view text) {
    Number(text.size(), 8);
    metadata_ += text;
  }
  void Key(const std::string& key, uint32_t type) {
    ++keys_;
    Put(key);
    Number(type, 4);
  }
  void Array(const std::string& key, uint32_t type, uint64_t count) {
    Key(key, 9);
    Number(type, 4);
    Number(count, 8);
  }

  uint64_t keys_ = 0;
  std::string metadata_, bytes_;
};

// All bytes, then `merged` (each made by one merge of `merges`), then control tokens.
struct ByteVocabulary {
  std::string pre = "gpt-2";
  std::vector<std::string> merges = {};
  std::vector<std::string> controls = {};
  std::vector<std::string> user_defined = {};
  std::string chat_template = {};

  VocabularyBuilder Builder() const {
    std::vector<std::string> tokens;
    std::vector<int32_t> types;
    const auto add = [&](const std::string& text, int32_t type) {
      tokens.push_back(text);
      types.push_back(type);
    };
    for (int byte = 0; byte < 256; ++byte) add(ByteCharacter(static_cast<unsigned char>(byte)), 1);
    for (std::string merge : merges) add(merge.erase(merge.find(' ', 1), 1), 1);
    for (const std::string& text : controls) add(text, 3);
    for (const std::string& text : user_defined) add(text, 4);
    VocabularyBuilder builder;
    builder.String("tokenizer.ggml.model", "gpt2").String("tokenizer.ggml.pre", pre);
    builder.Strings("tokenizer.ggml.tokens", tokens).Int32s("tokenizer.ggml.token_type", types);
    builder.Strings("tokenizer.ggml.merges", merges);
    if (!chat_template.empty()) builder.String("tokenizer.chat_template", chat_template);
    return builder;
  }
};

// <unk> <s> </s>, the bytes, then words with scores (the earlier the higher).
inline VocabularyBuilder SentencePieceVocabulary(const std::vector<std::string>& words,
                                                 const std::vector<std::string>& user_defined = {}) {
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<int32_t> types = {2, 3, 3};
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof(name), "<0x%02X>", static_cast<unsigned>(byte));
    tokens.push_back(name);
    types.push_back(6);
  }
  for (const std::string& word : words) tokens.push_back(word), types.push_back(1);
  for (const std::string& word : user_defined) tokens.push_back(word), types.push_back(4);
  std::vector<float> scores;
  for (size_t i = 0; i < tokens.size(); ++i) scores.push_back(-static_cast<float>(i));
  VocabularyBuilder builder;
  builder.String("tokenizer.ggml.model", "llama").Strings("tokenizer.ggml.tokens", tokens);
  builder.Int32s("tokenizer.ggml.token_type", types).Float32s("tokenizer.ggml.scores", scores);
  return builder;
}

// The texts of the tokens that `text` becomes, without special tokens.
inline std::vector<std::string> PiecesOf(const Tokenizer& tokenizer, const std::string& text,
                                         EncodeOptions options = {.add_special = false}) {
  std::vector<std::string> pieces;
  for (const Token token : tokenizer.Encode(text, options)) pieces.push_back(tokenizer.Piece(token, true));
  return pieces;
}

}  // namespace fedglm
