// What /v1/chat/completions and /v1/completions are asked for in the same words: sampling, lengths, streaming, format.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "inference/sampling/sampler.h"

namespace fedglm {

// What bounds a request, whoever sends it.
constexpr size_t kMaxBodyBytes = 8 << 20;   // of HTTP
constexpr size_t kMaxJsonBytes = 64 << 20;  // of memory that it takes when it is read
constexpr size_t kMaxMessages = 2048;
constexpr size_t kMaxStops = 16;
constexpr size_t kMaxStopBytes = 1024;
constexpr size_t kMaxGrammarBytes = 64 << 10;
constexpr size_t kMaxSchemaBytes = 128 << 10;  // as JSON
constexpr size_t kMaxTools = 128;
constexpr size_t kMaxToolBytes = 64 << 10;  // of one, as JSON
constexpr size_t kMaxNameBytes = 256;
constexpr int64_t kMaxChoices = 8;  // n
constexpr int64_t kMaxTopLogprobs = 20;
constexpr size_t kMaxBiases = 1024;

enum class AnswerFormat { kText, kJsonObject, kJsonSchema, kGrammar };

struct AnswerOptions {
  std::string model;       // empty: the server's own
  int64_t max_tokens = 0;  // 0: not given
  int choices = 1;         // n
  SamplingOptions sampling;
  std::vector<std::string> stop;
  bool stream = false;
  bool stream_usage = false;  // stream_options.include_usage
  int64_t logprobs = -1;      // as GenerationRequest's
  AnswerFormat format = AnswerFormat::kText;
  Json schema;          // of kJsonSchema
  std::string grammar;  // of kGrammar: GBNF, or the name of a built-in one
};

// Everything above but logprobs, which the two APIs spell differently. ParameterError for the first field that is
// wrong; fields that are not known are ignored, as OpenAI's clients expect. `body` is an object.
absl::StatusOr<AnswerOptions> ReadAnswerOptions(const Json& body);

}  // namespace fedglm
