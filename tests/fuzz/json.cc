#include "base/json.h"

#include "tests/fuzz/fuzz_targets.h"

namespace fedglm::fuzz {

void Json(std::string_view input) {
  const auto json = ParseJson(input, "input");
  if (!WasRead(json.status(), ExitCode::kBadInputFile)) return;
  const std::string written = DumpJson(*json);
  const auto again = ParseJson(written, "again");
  Require(again.ok() && DumpJson(*again) == written, "a value that was read is written and read again");
}

}  // namespace fedglm::fuzz
