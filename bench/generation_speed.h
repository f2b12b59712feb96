// How fast an engine in this process reads a prompt and writes an answer.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/status.h"
#include "inference/engine/engine.h"

namespace fedglm::bench {

struct GenerationSpeed {
  double prefill_tps = 0, decode_tps = 0;
  double first_token_seconds = 0;  // from the request to the first token
};

// One answer of `answer_tokens` >= 2 to a prompt of `prompt_tokens`. Another `salt` gives a prompt that shares no
// beginning with an earlier one, so that nothing of it is cached. Errors as of Engine::Generate.
inline absl::StatusOr<GenerationSpeed> MeasureGeneration(Engine& engine, int64_t prompt_tokens, int64_t answer_tokens,
                                                         int64_t salt) {
  GenerationRequest request;
  for (int64_t i = 0; i < prompt_tokens; ++i) {
    request.prompt.push_back(static_cast<Token>((i * 7 + salt + 1) % engine.hyperparameters().vocabulary));
  }
  request.max_tokens = answer_tokens;
  request.ignore_end = true;
  FEDGLM_ASSIGN_OR_RETURN(const GenerationResult result, engine.Generate(request, nullptr));
  GenerationSpeed speed;
  speed.first_token_seconds = result.prefill_seconds;
  speed.prefill_tps = static_cast<double>(result.prompt_tokens) / std::max(result.prefill_seconds, 1e-9);
  // The first token comes out of the prompt's own pass.
  speed.decode_tps = static_cast<double>(result.tokens.size() - 1) / std::max(result.decode_seconds, 1e-9);
  return speed;
}

}  // namespace fedglm::bench
