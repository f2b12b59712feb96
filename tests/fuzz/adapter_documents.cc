#include "adapter/adapter.h"
#include "adapter/peft.h"
#include "adapter/provenance.h"
#include "base/json.h"
#include "tests/fuzz/fuzz_targets.h"

namespace fedglm::fuzz {

void AdapterDocuments(std::string_view input) {
  constexpr ExitCode kBadFile = ExitCode::kBadInputFile;
  const auto json = ParseJson(input, "input");
  if (!WasRead(json.status(), kBadFile)) return;
  const auto config = PeftConfigFromJson(*json);
  if (WasRead(config.status(), kBadFile)) {
    (void)config->scale();
    const auto again = PeftConfigFromJson(PeftConfigToJson(*config));
    Require(again.ok() && *again == *config, "a configuration that was read is written and read again");
  }
  const auto provenance = ProvenanceFromJson(*json);
  if (WasRead(provenance.status(), kBadFile)) {
    const auto again = ProvenanceFromJson(ProvenanceToJson(*provenance));
    Require(again.ok() && *again == *provenance, "a provenance that was read is written and read again");
    Require(SignedBytes({}, *again) == SignedBytes({}, *provenance), "it is signed as the same");
  }
}

}  // namespace fedglm::fuzz
