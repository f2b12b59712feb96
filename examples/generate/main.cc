// fedglm-generate MODEL.gguf PROMPT [TOKENS]: continues a text, printed as it is written.
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "inference/engine/engine.h"

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: fedglm-generate MODEL.gguf PROMPT [TOKENS]\n");
    return 2;
  }
  const absl::StatusOr<std::unique_ptr<fedglm::Engine>> engine = fedglm::Engine::Open(argv[1], {});
  if (!engine.ok()) {
    std::fprintf(stderr, "%s\n", fedglm::Message(engine.status()).c_str());
    return 1;
  }
  fedglm::GenerationRequest request;
  request.prompt = (*engine)->tokenizer().Encode(argv[2], {.add_special = true});
  request.max_tokens = argc > 3 ? std::atoll(argv[3]) : 64;
  const auto print = [](const fedglm::GeneratedToken& token) {
    std::fwrite(token.text.data(), 1, token.text.size(), stdout);
    return std::fflush(stdout) == 0;
  };
  const absl::StatusOr<fedglm::GenerationResult> result = (*engine)->Generate(request, print);
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", fedglm::Message(result.status()).c_str());
    return 1;
  }
  std::printf("\n");
}
