// Byte-level BPE (Sennrich et al. 2016, https://arxiv.org/abs/1508.07909): learns the merges of a vocabulary from text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace fedglm {

// As a GGUF stores it: tokens in byte characters (tokenizer.ggml.tokens), merges as "left right", best first.
struct BpeVocabulary {
  std::vector<std::string> tokens;
  std::vector<std::string> merges;
};

// The 256 bytes, then the most frequent merges until there are `size` tokens (or nothing repeats any more). Pre-tokens
// are cut by the patterns of `pretokenizer` (a name for tokenizer.ggml.pre). Ties go to the lower pair of ids, so that
// the result depends on the texts only. UsageError if size < 256.
absl::StatusOr<BpeVocabulary> TrainBpe(const std::vector<std::string>& texts, int64_t size,
                                       const std::string& pretokenizer);

}  // namespace fedglm
