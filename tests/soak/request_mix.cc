#include "tests/soak/request_mix.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

namespace fedglm::soak {
namespace {

constexpr const char* kChatPath = "/v1/chat/completions";
constexpr const char* kCompletionPath = "/v1/completions";
constexpr const char* kEmbeddingPath = "/v1/embeddings";

constexpr double kShortPrompt = 0.05, kMediumPrompt = 0.2;  // parts of the context
constexpr size_t kTooLargeBytes = (8 << 20) + 4096;         // a body's limit, and a little
constexpr size_t kHugePromptBytes = 1 << 20;

Json Messages(const Json& content) { return Json::array({{{"role", "user"}, {"content", content}}}); }

Json AsFormat(const Json& schema) {
  return {{"type", "json_schema"}, {"json_schema", {{"name", "patient"}, {"schema", schema}}}};
}

Json With(Json body, const Json& more) {
  body.update(more);
  return body;
}

SoakRequest Post(const char* kind, AnswerShape shape, const char* path, const Json& body) {
  return {kind, shape, "POST", path, DumpJson(body)};
}

SoakRequest Refused(const char* kind, int status, const char* path, std::string body) {
  return {kind, AnswerShape::kNone, "POST", path, std::move(body), Manner::kWhole, status};
}

// Its refusal takes as long as the client takes to send it.
SoakRequest Untimed(SoakRequest request) {
  request.timed = false;
  return request;
}

}  // namespace

bool SoakRequest::needs_engine() const {
  const bool only_looks = shape == AnswerShape::kTokens || shape == AnswerShape::kText || shape == AnswerShape::kModels;
  return refused_with == 0 && !only_looks;
}

std::string FillerText(int64_t words, std::mt19937_64& random) {
  static constexpr std::array kWords = {"patient",  "fever",  "with", "mild", "cough",     "since", "Monday", "blood",
                                        "pressure", "normal", "dose", "of",   "ibuprofen", "daily", "stable", "ward"};
  std::string text;
  for (int64_t i = 0; i < words; ++i) (text += i == 0 ? "" : " ") += kWords[random() % kWords.size()];
  return text;
}

Json PatientSchema() {
  return {{"type", "object"},
          {"properties",
           {{"age", {{"type", "integer"}, {"minimum", 0}, {"maximum", 120}}},
            {"ward", {{"enum", Json::array({"north", "south"})}}}}},
          {"required", Json::array({"age", "ward"})},
          {"additionalProperties", false}};
}

int64_t RequestMix::Uniform(int64_t low, int64_t high) {
  return low + static_cast<int64_t>(random_() % static_cast<uint64_t>(high - low + 1));
}

std::string RequestMix::Prompt(double part_of_context) {
  const double words = part_of_context * static_cast<double>(model_.context) / model_.tokens_per_word;
  return FillerText(std::max<int64_t>(1, std::llround(words)), random_);
}

Json RequestMix::Chat(const std::string& prompt) {
  // Some begin alike, so that prefixes are shared.
  Json messages = Json::array();
  if (Uniform(0, 1) == 0) messages.push_back({{"role", "system"}, {"content", "You write discharge letters."}});
  messages.push_back({{"role", "user"}, {"content", prompt}});
  return {{"model", model_.models[static_cast<size_t>(Uniform(0, static_cast<int64_t>(model_.models.size()) - 1))]},
          {"messages", std::move(messages)},
          {"max_tokens", Uniform(4, 32)},
          {"seed", Uniform(1, 1 << 30)}};
}

Json RequestMix::Completion(const std::string& prompt) {
  Json body = Chat("");
  body.erase("messages");
  body["prompt"] = prompt;
  return body;
}

SoakRequest RequestMix::NextStream() {
  Json body = Chat(Prompt(kShortPrompt));
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", Uniform(0, 1) == 0}};
  return Post("chat, streaming", AnswerShape::kChatStream, kChatPath, body);
}

SoakRequest RequestMix::NextBadlyBehaved() {
  const auto in_manner = [](SoakRequest request, const char* kind, Manner manner) {
    request.kind = kind;
    request.manner = manner;
    request.timed = manner != Manner::kHalfSent;
    return request;
  };
  SoakRequest stream = NextStream();
  const int64_t at = Uniform(0, 5);
  if (at == 0) return in_manner(stream, "slow reader", Manner::kSlowReader);
  // Long enough to be left in the middle.
  stream.body = DumpJson(With(Chat(Prompt(kShortPrompt)), {{"stream", true}, {"max_tokens", 100}}));
  if (at == 1) return in_manner(stream, "half sent", Manner::kHalfSent);
  return at <= 3 ? in_manner(stream, "left in the stream", Manner::kLeaveInStream)
                 : in_manner(stream, "left before the answer", Manner::kLeaveBeforeAnswer);
}

SoakRequest RequestMix::Next() {
  using Make = std::function<SoakRequest()>;
  const std::vector<std::pair<int, Make>> mix = {
      {14, [&] { return Post("chat", AnswerShape::kChat, kChatPath, Chat(Prompt(kShortPrompt))); }},
      {14, [&] { return NextStream(); }},
      {6,
       [&] {
         return Post("completion", AnswerShape::kCompletion, kCompletionPath, Completion(Prompt(kMediumPrompt)));
       }},
      {6,
       [&] {
         return Post("completion, streaming", AnswerShape::kCompletionStream, kCompletionPath,
                     With(Completion(Prompt(kShortPrompt)), {{"stream", true}}));
       }},
      {5,
       [&] {
         return Post("embeddings", AnswerShape::kEmbedding, kEmbeddingPath,
                     {{"input", Json::array({Prompt(kShortPrompt), Prompt(kMediumPrompt)})}});
       }},
      {4,
       [&] {
         return Post("tokenize", AnswerShape::kTokens, "/tokenize", {{"content", Prompt(kMediumPrompt)}});
       }},
      {2,
       [&] {
         return Post("detokenize", AnswerShape::kText, "/detokenize",
                     {{"tokens", Json::array({Uniform(1, 200), Uniform(1, 200)})}});
       }},
      {3,
       [&] {
         return SoakRequest{"models", AnswerShape::kModels, "GET", "/v1/models", ""};
       }},
      {5,
       [&] {
         return Post("long prompt", AnswerShape::kChat, kChatPath,
                     With(Chat(Prompt(kLongPrompt)), {{"max_tokens", 8}}));
       }},
      {5,
       [&] {
         return Post("JSON schema", AnswerShape::kPatient, kChatPath,
                     With(Chat("Age and ward?"), {{"max_tokens", 40}, {"response_format", AsFormat(PatientSchema())}}));
       }},
      {4,
       [&] {
         return Post("grammar", AnswerShape::kYesOrNo, kChatPath,
                     With(Chat("Fever?"), {{"grammar", "root ::= \"yes\" | \"no\""}}));
       }},
      {3,
       [&] {
         return Post("unknown field", AnswerShape::kChat, kChatPath,
                     With(Chat(Prompt(kShortPrompt)), {{"no_such_field", Json::array({1, 2})}}));
       }},
      {3,
       [&] {
         return Post("choices with logprobs", AnswerShape::kChatStream, kChatPath,
                     With(Chat(Prompt(kShortPrompt)),
                          {{"n", 3}, {"stream", true}, {"logprobs", true}, {"top_logprobs", 5}, {"max_tokens", 12}}));
       }},
      {24, [&] { return NextBadlyBehaved(); }},
      {12, [&] { return NextRefused(); }},
      {1, [&] { return Untimed(Refused("body too large", 413, kChatPath, std::string(kTooLargeBytes, ' '))); }},
  };
  int64_t sum = 0;
  for (const auto& [weight, make] : mix) sum += weight;
  int64_t at = Uniform(0, sum - 1);
  for (const auto& [weight, make] : mix) {
    if ((at -= weight) < 0) return make();
  }
  return NextStream();
}

SoakRequest RequestMix::NextRefused() {
  const auto chat_with = [this](const Json& more) {
    Json body = Chat(Prompt(kShortPrompt));
    body.update(more);
    return DumpJson(body);
  };
  switch (Uniform(0, 13)) {
    case 0: {
      std::string body = DumpJson(Chat(Prompt(kShortPrompt)));
      body.resize(body.size() - static_cast<size_t>(Uniform(1, 10)));
      return Refused("malformed JSON", 400, kChatPath, std::move(body));
    }
    case 1:
      return Refused("not an object", 400, kChatPath, "[1, 2, 3]");
    case 2:
      return Refused("wrong type", 400, kChatPath, chat_with({{"messages", 5}}));
    case 3:
      return Refused("out of range", 400, kChatPath, chat_with({{"temperature", 5}}));
    case 4:
      return Refused("too many choices", 400, kChatPath, chat_with({{"n", 1000}}));
    case 5:
      return Refused("unknown model", 404, kChatPath, chat_with({{"model", "no-such-model"}}));
    case 6: {
      const Json image = {{"type", "image_url"}, {"image_url", {{"url", "data:image/png;base64,iVBORw0KGgo="}}}};
      return Refused("image", 400, kChatPath, chat_with({{"messages", Messages(Json::array({image}))}}));
    }
    case 7:
      return Refused("prompt over the context", 400, kChatPath,
                     chat_with({{"messages", Messages(Prompt(static_cast<double>(Uniform(2, 5))))}}));
    case 8: {
      std::string text = Prompt(1);
      while (text.size() < kHugePromptBytes) text += text;
      text.resize(kHugePromptBytes);
      return Refused("prompt of 1 MiB", 400, kChatPath, chat_with({{"messages", Messages(text)}}));
    }
    case 9:
      return Refused("bad schema", 400, kChatPath, chat_with({{"response_format", AsFormat({{"type", 7}})}}));
    case 10:
      return Refused("bad grammar", 400, kChatPath, chat_with({{"grammar", "root ::= ("}}));
    case 11:
      return Refused("unknown path", 404, "/v1/no-such-path", "{}");
    case 12:
      return Refused("unknown token", 400, "/detokenize", "{\"tokens\": [4000000000]}");
    default:
      return Refused("empty embedding", 400, kEmbeddingPath, "{\"input\": []}");
  }
}

}  // namespace fedglm::soak
