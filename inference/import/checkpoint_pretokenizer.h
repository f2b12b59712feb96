// Which pre-tokenizer of GGUF's the "pre_tokenizer" of a tokenizer.json is. Private to this folder.
#pragma once

#include <string>

#include "base/json_forward.h"
#include "base/status.h"
#include "inference/gguf/architecture.h"

namespace fedglm {

// The name for tokenizer.ggml.pre. Of names with the same pattern, the one that is usual for the architecture.
// BadFile if its steps are none that are known, or no name stands for their patterns and `ignore_merges`.
absl::StatusOr<std::string> NameOfPretokenizer(const Json& pre_tokenizer, bool ignore_merges,
                                               const Architecture& architecture);

}  // namespace fedglm
