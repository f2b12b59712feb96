#include "training/base_model.h"

namespace fedglm {

absl::StatusOr<BaseModel> BaseModel::Open(const std::filesystem::path& path) {
  BaseModel base;
  FEDGLM_ASSIGN_OR_RETURN(base.file, GgufFile::Open(path));
  FEDGLM_ASSIGN_OR_RETURN(base.hyperparameters, ReadHyperparameters(*base.file));
  FEDGLM_ASSIGN_OR_RETURN(base.tokenizer, Tokenizer::FromGguf(*base.file));
  base.chat_template = DetectChatTemplate(*base.file, *base.tokenizer);
  return base;
}

absl::StatusOr<ExampleSet> BaseModel::Load(const std::vector<std::filesystem::path>& records,
                                           int64_t sequence_length) const {
  return LoadExamples(records, *tokenizer, chat_template, sequence_length);
}

}  // namespace fedglm
