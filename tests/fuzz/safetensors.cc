#include "adapter/safetensors.h"

#include "adapter/adapter.h"
#include "adapter/tensors.h"
#include "tests/fuzz/fuzz_targets.h"

namespace fedglm::fuzz {

// What was read is written, read again and written again with the same bytes (which, unlike values, may be NaN).
void Safetensors(std::string_view input) {
  constexpr ExitCode kBadFile = ExitCode::kBadInputFile;
  const auto file = ParseSafetensors(input, "input");
  if (WasRead(file.status(), kBadFile)) {
    const std::string written = SerializeSafetensors(file->tensors, file->metadata);
    const auto again = ParseSafetensors(written, "again");
    Require(again.ok(), "what was written is read");
    Require(SerializeSafetensors(again->tensors, again->metadata) == written, "it is the same again");
  }
  const auto tensors = ParseTensors(input);
  if (WasRead(tensors.status(), kBadFile)) (void)NormOf(*tensors);
  const auto adapter = ParseAdapter(input);
  if (WasRead(adapter.status(), kBadFile)) {
    const std::string written = SerializeAdapter(*adapter);
    const auto again = ParseAdapter(written);
    Require(again.ok() && SerializeAdapter(*again) == written, "an adapter that was read is written and read again");
    for (const auto mode : {UpdateForm::kChangeOfB, UpdateForm::kChangeOfFactors, UpdateForm::kFactors}) {
      (void)CheckUpdate(TensorsOf(*adapter, mode), *adapter, mode);
      (void)MakeUpdate(*adapter, *again, mode);
    }
  }
}

}  // namespace fedglm::fuzz
