// Records as a site keeps them (JSON Lines) and as training sees them (tokens, and which of them count).
//
// A line is one of {"messages":[{"role","content"}…]}, {"prompt","completion"}, {"text"}. The loss is computed on the
// answers only for the first two, on everything for the third.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/status.h"
#include "inference/tokenizer/chat_template.h"
#include "inference/tokenizer/tokenizer.h"

namespace fedglm {

// One sequence. counted[i]: the prediction of tokens[i] is part of the loss (never counted[0]).
struct Example {
  uint64_t record = 0;  // a hash of what it was made of: all examples of one record have the same
  std::vector<Token> tokens;
  std::vector<bool> counted;
  int64_t CountedTokens() const;
};

struct ExampleSet {
  std::vector<Example> examples;
  int64_t records = 0;  // lines read
  int64_t cut = 0;      // records that were longer than the sequence length (a long text becomes several examples)
  int64_t dropped = 0;  // records of which nothing counted was left
  int64_t CountedTokens() const;
};

// All records of `files` in order. BadFile naming file and line for what is no record; BadFile if there is none at all.
absl::StatusOr<ExampleSet> LoadExamples(const std::vector<std::filesystem::path>& files, const Tokenizer& tokenizer,
                                        const ChatTemplate& chat_template, int64_t sequence_length);

// One record in `every` is set aside: the examples of those stay in `set`, or of all others. It is chosen by its hash,
// so that it is the same one at every sequence length, and whatever is added to the file. Of fewer records none is set
// aside; what would be empty stays whole.
void KeepPart(ExampleSet& set, int64_t every, bool set_aside);

// The text of every record, as it would be read (for training a tokenizer): contents and texts, in order.
absl::StatusOr<std::vector<std::string>> LoadTexts(const std::vector<std::filesystem::path>& files);

}  // namespace fedglm
