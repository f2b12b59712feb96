#include "inference/autoglm/autoglm.h"
#include "inference/grammar/grammar.h"

namespace fedglm {

absl::StatusOr<std::shared_ptr<const Grammar>> FindBuiltinGrammar(std::string_view name) {
  if (name == "json") return ParseGrammar(AnyJsonGrammar());
  if (name == "autoglm") return ParseGrammar(AutoglmGrammar());
  return UsageError("there is no grammar '" + std::string(name) + "' (json and autoglm are built in)");
}

}  // namespace fedglm
