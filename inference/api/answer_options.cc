#include "inference/api/answer_options.h"

#include <charconv>

#include "inference/api/api_error.h"
#include "inference/api/request_fields.h"

namespace fedglm {
namespace {

constexpr uint64_t kSeedOfZero = 0x9E3779B97F4A7C15;  // SamplingOptions reads 0 as "a random one"

absl::Status ReadBias(const Json& body, SamplingOptions& sampling) {
  const Json* const biases = FindField(body, "logit_bias");
  if (biases == nullptr) return absl::OkStatus();
  if (!biases->is_object() || biases->size() > kMaxBiases) {
    return MustBe("logit_bias", "an object of at most " + std::to_string(kMaxBiases) + " token ids");
  }
  for (const auto& [name, value] : biases->items()) {
    Token token = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), token);
    if (error != std::errc() || end != name.data() + name.size() || token < 0) {
      return MustBe("logit_bias", "an object whose names are token ids");
    }
    if (!value.is_number() || !(value.get<double>() >= -100 && value.get<double>() <= 100)) {
      return MustBe("logit_bias." + name, "a number from -100 to 100");
    }
    sampling.logit_bias.emplace_back(token, value.get<float>());
  }
  return absl::OkStatus();
}

absl::Status ReadSampling(const Json& body, SamplingOptions& sampling) {
  FEDGLM_ASSIGN_OR_RETURN(sampling.temperature, ReadNumber(body, "temperature", 1.0, 0, 2));
  FEDGLM_ASSIGN_OR_RETURN(sampling.top_p, ReadNumber(body, "top_p", 1.0, 0, 1));
  FEDGLM_ASSIGN_OR_RETURN(sampling.min_p, ReadNumber(body, "min_p", 0.0, 0, 1));
  FEDGLM_ASSIGN_OR_RETURN(sampling.repetition_penalty, ReadNumber(body, "repetition_penalty", 1.0, 0.01, 100));
  FEDGLM_ASSIGN_OR_RETURN(sampling.frequency_penalty, ReadNumber(body, "frequency_penalty", 0, -2, 2));
  FEDGLM_ASSIGN_OR_RETURN(sampling.presence_penalty, ReadNumber(body, "presence_penalty", 0, -2, 2));
  FEDGLM_ASSIGN_OR_RETURN(sampling.top_k, ReadCount(body, "top_k", 0, 0, 1 << 30));
  if (FindField(body, "seed") != nullptr) {
    FEDGLM_ASSIGN_OR_RETURN(const int64_t seed, ReadCount(body, "seed", 0, INT64_MIN, INT64_MAX));
    sampling.seed = seed == 0 ? kSeedOfZero : static_cast<uint64_t>(seed);
  }
  return ReadBias(body, sampling);
}

absl::Status ReadSchema(const Json& format, AnswerOptions& options) {
  const Json* const wrapper = FindField(format, "json_schema");
  if (wrapper == nullptr || !wrapper->is_object()) {
    return MustBe("response_format.json_schema", "an object with a schema");
  }
  const Json* const schema = FindField(*wrapper, "schema");
  if (schema == nullptr || !schema->is_object()) return MustBe("response_format.json_schema.schema", "a JSON schema");
  if (DumpJson(*schema).size() > kMaxSchemaBytes) {
    return MustBe("response_format.json_schema.schema", "at most " + std::to_string(kMaxSchemaBytes) + " bytes long");
  }
  options.format = AnswerFormat::kJsonSchema;
  options.schema = *schema;
  return absl::OkStatus();
}

absl::Status ReadFormat(const Json& body, AnswerOptions& options) {
  FEDGLM_ASSIGN_OR_RETURN(options.grammar, ReadText(body, "grammar", kMaxGrammarBytes));
  if (!options.grammar.empty()) options.format = AnswerFormat::kGrammar;
  const Json* const format = FindField(body, "response_format");
  if (format == nullptr) return absl::OkStatus();
  const Json* const type = format->is_object() ? FindField(*format, "type") : nullptr;
  const std::string name = type != nullptr && type->is_string() ? type->get<std::string>() : "";
  if (name != "text" && name != "json_object" && name != "json_schema") {
    return MustBe("response_format.type", "text, json_object or json_schema");
  }
  if (name == "text") return absl::OkStatus();
  if (!options.grammar.empty()) {
    return ParameterError("grammar", "'grammar' and 'response_format' cannot both say what the answer looks like");
  }
  if (name == "json_schema") return ReadSchema(*format, options);
  options.format = AnswerFormat::kJsonObject;
  return absl::OkStatus();
}

absl::Status ReadStreaming(const Json& body, AnswerOptions& options) {
  FEDGLM_ASSIGN_OR_RETURN(options.stream, ReadFlag(body, "stream"));
  const Json* const stream_options = FindField(body, "stream_options");
  if (stream_options == nullptr) return absl::OkStatus();
  if (!stream_options->is_object()) return MustBe("stream_options", "an object");
  if (!options.stream) return ParameterError("stream_options", "'stream_options' is only for 'stream': true");
  FEDGLM_ASSIGN_OR_RETURN(options.stream_usage, ReadFlag(*stream_options, "include_usage"));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<AnswerOptions> ReadAnswerOptions(const Json& body) {
  AnswerOptions options;
  FEDGLM_ASSIGN_OR_RETURN(options.model, ReadText(body, "model", kMaxNameBytes));
  FEDGLM_RETURN_IF_ERROR(ReadText(body, "user", kMaxNameBytes).status());  // OpenAI's, for its own statistics
  FEDGLM_ASSIGN_OR_RETURN(const int64_t old_name, ReadCount(body, "max_tokens", 0, 1, INT32_MAX));
  FEDGLM_ASSIGN_OR_RETURN(options.max_tokens, ReadCount(body, "max_completion_tokens", old_name, 1, INT32_MAX));
  FEDGLM_ASSIGN_OR_RETURN(const int64_t choices, ReadCount(body, "n", 1, 1, kMaxChoices));
  options.choices = static_cast<int>(choices);
  FEDGLM_RETURN_IF_ERROR(ReadSampling(body, options.sampling));
  FEDGLM_ASSIGN_OR_RETURN(options.stop, ReadTexts(body, "stop", kMaxStops, kMaxStopBytes));
  FEDGLM_RETURN_IF_ERROR(ReadStreaming(body, options));
  FEDGLM_RETURN_IF_ERROR(ReadFormat(body, options));
  return options;
}

}  // namespace fedglm
