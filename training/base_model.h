// A base opened for training: the mapped file, what it is, and how its text becomes tokens.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "base/status.h"
#include "inference/gguf/architecture.h"
#include "inference/gguf/gguf_file.h"
#include "inference/tokenizer/chat_template.h"
#include "inference/tokenizer/tokenizer.h"
#include "training/data/records.h"

namespace fedglm {

struct BaseModel {
  std::shared_ptr<const GgufFile> file;
  Hyperparameters hyperparameters;
  std::shared_ptr<const Tokenizer> tokenizer;
  ChatTemplate chat_template;

  static absl::StatusOr<BaseModel> Open(const std::filesystem::path& path);
  absl::StatusOr<ExampleSet> Load(const std::vector<std::filesystem::path>& records, int64_t sequence_length) const;
};

}  // namespace fedglm
