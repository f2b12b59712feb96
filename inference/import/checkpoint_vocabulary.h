// A checkpoint's tokenizer.json and tokenizer_config.json as the vocabulary keys of a GGUF.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/status.h"
#include "inference/gguf/gguf_writer.h"
#include "inference/import/checkpoint_config.h"

namespace fedglm {

// Byte-level BPE, GGUF's model "gpt2".
struct CheckpointVocabulary {
  std::string pretokenizer;         // tokenizer.ggml.pre
  std::vector<std::string> tokens;  // as many as the embedding has rows; ids that no token has are "[PAD…]"
  std::vector<int32_t> kinds;       // tokenizer.ggml.token_type
  std::vector<std::string> merges;  // "left right", best first
  // -1: none
  int64_t begin = -1, end = -1, end_of_turn = -1, unknown = -1, padding = -1;
  int add_begin = -1, add_end = -1;  // 0, 1; -1: nothing says so
  std::string chat_template;         // empty: none

  void WriteTo(GgufWriter& writer) const;
};

// NotFound if there is no tokenizer.json. BadFile if it is no byte-level BPE, its pre-tokenizer's pattern is none that
// inference/tokenizer/pretokenizer_names.cc has, it normalizes in a way that would be lost, or ids, merges and names
// contradict each other or the embedding's rows.
absl::StatusOr<CheckpointVocabulary> ReadCheckpointVocabulary(const std::filesystem::path& folder,
                                                              const CheckpointConfig& config);

}  // namespace fedglm
