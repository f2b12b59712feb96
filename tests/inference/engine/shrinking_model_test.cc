// A model file that is cut short under a running engine: its requests end with an error, and the process goes on.
#include <unistd.h>

#include "base/file.h"
#include "gtest/gtest.h"
#include "inference/engine/engine.h"
#include "tests/base/forked_child.h"
#include "tests/support/golden.h"

namespace fedglm {
namespace {

// In a child: SIGBUS would end it.
TEST(ShrinkingModel, EndsTheRequestsAndNotTheProcess) {
  const auto folder = TemporaryDirectory::Make();
  const std::filesystem::path model = folder->path() / "model.gguf";
  std::filesystem::copy_file(GoldenPath("golden/glm4-tiny-q4_k_m.gguf"), model);
  EXPECT_CHILD_SUCCEEDS("", [&] {
    auto engine = Engine::Open(model, {.threads = 2});
    if (!engine.ok()) return 1;
    GenerationRequest request;
    request.prompt = {1, 2, 3};
    request.max_tokens = 64;
    request.ignore_end = true;
    if (!(*engine)->Generate(request, [](const GeneratedToken&) { return true; }).ok()) return 2;
    int tokens = 0;
    const auto cut = (*engine)->Generate(request, [&](const GeneratedToken&) {
      if (++tokens == 3 && ::truncate(model.c_str(), 64 << 10) != 0) _exit(3);
      return true;
    });
    if (ExitCodeOf(cut.status()) != ExitCode::kBadInputFile) return 4;
    if (Message(cut.status()).find(model.string()) != 0) return 5;
    if (tokens >= 64) return 6;
    const auto later = (*engine)->Generate(request, [](const GeneratedToken&) { return true; });
    if (ExitCodeOf(later.status()) != ExitCode::kBadInputFile) return 7;
    const absl::Status logits = (*engine)->Logits({1, 2}, [](const float*, int64_t) { return absl::OkStatus(); });
    return ExitCodeOf(logits) == ExitCode::kBadInputFile ? 0 : 8;
  });
}

}  // namespace
}  // namespace fedglm
