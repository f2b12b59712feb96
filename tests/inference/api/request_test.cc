// Every field of a request, and what is said when it is wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "inference/api/api_error.h"
#include "inference/api/chat_request.h"

namespace fedglm {
namespace {

Json Body(const char* more = "{}") {
  Json body = *ParseJson(R"({"messages":[{"role":"user","content":"hi"}]})", "body");
  const Json extra = *ParseJson(more, "more");
  for (const auto& [name, value] : extra.items()) body[name] = value;
  return body;
}

ApiError ErrorOf(const Json& body) {
  const absl::StatusOr<ChatRequest> request = ParseChatRequest(body);
  EXPECT_FALSE(request.ok()) << body;
  return request.ok() ? ApiError() : ToApiError(request.status());
}

TEST(ChatRequest, DefaultsAreOpenAis) {
  const ChatRequest request = *ParseChatRequest(Body());
  EXPECT_EQ(request.options.sampling.temperature, 1.0);
  EXPECT_EQ(request.options.sampling.top_p, 1.0);
  EXPECT_EQ(request.options.sampling.seed, 0u);
  EXPECT_EQ(request.options.choices, 1);
  EXPECT_EQ(request.options.max_tokens, 0);
  EXPECT_EQ(request.options.logprobs, -1);
  EXPECT_FALSE(request.options.stream);
  EXPECT_EQ(request.tool_choice.use, ToolUse::kNone);
}

TEST(ChatRequest, ReadsEveryField) {
  const ChatRequest request =
      *ParseChatRequest(Body(R"({"model":"m","temperature":0.5,"top_p":0.9,"top_k":40,"min_p":0.1,
    "repetition_penalty":1.1,"frequency_penalty":0.5,"presence_penalty":-0.5,"logit_bias":{"7":-100},"seed":42,
    "n":4,"max_tokens":1,"max_completion_tokens":9,"stop":["a","b"],"stream":true,
    "stream_options":{"include_usage":true},
    "logprobs":true,"top_logprobs":5,"user":"u","unknown":{"is":"ignored"},"response_format":{"type":"text"}})"));
  const AnswerOptions& o = request.options;
  EXPECT_EQ(o.model, "m");
  EXPECT_EQ(o.sampling.temperature, 0.5);
  EXPECT_EQ(o.sampling.top_k, 40);
  EXPECT_EQ(o.sampling.frequency_penalty, 0.5);
  EXPECT_EQ(o.sampling.presence_penalty, -0.5);
  EXPECT_EQ(o.sampling.logit_bias, (std::vector<std::pair<Token, float>>{{7, -100.0f}}));
  EXPECT_EQ(o.sampling.seed, 42u);
  EXPECT_EQ(o.choices, 4);
  EXPECT_EQ(o.max_tokens, 9);
  EXPECT_EQ(o.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(o.stream && o.stream_usage);
  EXPECT_EQ(o.logprobs, 5);
  EXPECT_EQ(o.format, AnswerFormat::kText);
  EXPECT_NE(ParseChatRequest(Body(R"({"seed":0})"))->options.sampling.seed, 0u);  // 0 is a seed, not "a random one"
}

// Shaped as Open-AutoGLM's client sends it with its default settings: content in parts, and of the turns before the
// text part alone, with the model's tags inside the client's.
TEST(ChatRequest, ReadsOpenAutoglmsDialogue) {
  Json body = *ParseJson(R"~({"model":"autoglm-phone-9b","max_tokens":3000,"temperature":0.0,"top_p":0.85,
    "frequency_penalty":0.2,"stream":true,"messages":[
    {"role":"system","content":"今天的日期是: 2025年12月11日 星期四\n…"},
    {"role":"user","content":[{"type":"text","text":"去京东和淘宝上比价\n\n{\"current_app\": \"小红书\"}"}]},
    {"role":"assistant","content":
      "<think><think>why</think>\n<answer></think><answer>do(action=\"Launch\", app=\"京东\")</answer>"},
    {"role":"user","content":[{"type":"text","text":"** Screen Info **\n\n{\"current_app\": \"京东\"}"}]}]})~",
                         "body");
  const absl::StatusOr<ChatRequest> request = ParseChatRequest(body);
  ASSERT_TRUE(request.ok()) << Message(request.status());
  EXPECT_EQ(request->options.sampling.temperature, 0.0);
  EXPECT_EQ(request->options.sampling.frequency_penalty, 0.2);
  ASSERT_EQ(request->messages.size(), 4u);
  EXPECT_EQ(request->messages[1].content, "去京东和淘宝上比价\n\n{\"current_app\": \"小红书\"}");
  EXPECT_EQ(request->messages[2].role, "assistant");
  EXPECT_EQ(request->messages[3].content, "** Screen Info **\n\n{\"current_app\": \"京东\"}");
  // The turn that is asked for comes with a screenshot, before the text.
  const Json screenshot = {{"type", "image_url"}, {"image_url", {{"url", "data:image/png;base64,AAAA"}}}};
  Json& parts = body["messages"][3]["content"];
  parts.insert(parts.begin(), screenshot);
  const ApiError error = ErrorOf(body);
  EXPECT_EQ(error.param, "messages[3].content[0]");
  EXPECT_EQ(error.code, "vision_not_supported");
}

// What is added to a request that is right, and the field that is wrong then.
constexpr std::pair<const char*, const char*> kWrongFields[] = {
    {R"({"messages":[]})", "messages"},
    {R"({"messages":"hi"})", "messages"},
    {R"({"messages":[7]})", "messages[0].role"},
    {R"({"messages":[{"role":"nobody","content":"x"}]})", "messages[0].role"},
    {R"({"messages":[{"role":"user"}]})", "messages[0].content"},
    {R"({"messages":[{"role":"user","content":7}]})", "messages[0].content"},
    {R"({"messages":[{"role":"user","content":[7]}]})", "messages[0].content[0].type"},
    {R"({"messages":[{"role":"user","content":[{"type":"text"}]}]})", "messages[0].content[0].text"},
    {R"({"messages":[{"role":"user","content":[{"type":"input_audio"}]}]})", "messages[0].content[0].type"},
    {R"({"messages":[{"role":"tool","content":"x","tool_call_id":"none"}]})", "messages[0].tool_call_id"},
    {R"({"messages":[{"role":"assistant","content":null}]})", "messages[0].content"},
    {R"({"messages":[{"role":"assistant","tool_calls":[]}]})", "messages[0].tool_calls"},
    {R"({"messages":[{"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f"}}]}]})",
     "messages[0].tool_calls[0].function.arguments"},
    {R"({"model":7})", "model"},
    {R"({"temperature":"hot"})", "temperature"},
    {R"({"temperature":2.1})", "temperature"},
    {R"({"top_p":-0.1})", "top_p"},
    {R"({"top_k":1.5})", "top_k"},
    {R"({"min_p":2})", "min_p"},
    {R"({"repetition_penalty":0})", "repetition_penalty"},
    {R"({"frequency_penalty":3})", "frequency_penalty"},
    {R"({"presence_penalty":-3})", "presence_penalty"},
    {R"({"logit_bias":[1]})", "logit_bias"},
    {R"({"logit_bias":{"the":1}})", "logit_bias"},
    {R"({"logit_bias":{"5":101}})", "logit_bias.5"},
    {R"({"seed":"x"})", "seed"},
    {R"({"seed":18446744073709551615})", "seed"},
    {R"({"n":0})", "n"},
    {R"({"n":9})", "n"},
    {R"({"max_tokens":-1})", "max_tokens"},
    {R"({"max_completion_tokens":0})", "max_completion_tokens"},
    {R"({"stop":7})", "stop"},
    {R"({"stop":[""]})", "stop"},
    {R"({"stop":["a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a","a"]})", "stop"},
    {R"({"stream":"yes"})", "stream"},
    {R"({"stream_options":{"include_usage":true}})", "stream_options"},
    {R"({"stream":true,"stream_options":7})", "stream_options"},
    {R"({"logprobs":5})", "logprobs"},
    {R"({"top_logprobs":5})", "top_logprobs"},
    {R"({"logprobs":true,"top_logprobs":21})", "top_logprobs"},
    {R"({"user":7})", "user"},
    {R"({"response_format":"json"})", "response_format.type"},
    {R"({"response_format":{"type":"xml"}})", "response_format.type"},
    {R"({"response_format":{"type":"json_schema"}})", "response_format.json_schema"},
    {R"({"response_format":{"type":"json_schema","json_schema":{"schema":7}}})", "response_format.json_schema.schema"},
    {R"({"grammar":7})", "grammar"},
    {R"({"grammar":"root ::= \"a\"","response_format":{"type":"json_object"}})", "grammar"},
    {R"({"tools":7})", "tools"},
    {R"({"tools":[{"type":"retrieval"}]})", "tools[0].type"},
    {R"({"tools":[{"type":"function"}]})", "tools[0].function"},
    {R"({"tools":[{"type":"function","function":{"name":"a b"}}]})", "tools[0].function.name"},
    {R"({"tools":[{"type":"function","function":{"name":"f","parameters":7}}]})", "tools[0].function.parameters"},
    {R"({"tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"f"}}]})",
     "tools[1].function.name"},
    {R"({"tool_choice":"auto"})", "tool_choice"},
    {R"({"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"maybe"})", "tool_choice"},
    {R"({"tools":[{"type":"function","function":{"name":"f"}}],)"
     R"("tool_choice":{"type":"function","function":{"name":"g"}}})",
     "tool_choice.function.name"},
    {R"({"tools":[{"type":"function","function":{"name":"f"}}],"grammar":"root ::= \"a\""})", "grammar"},
    {R"({"parallel_tool_calls":1})", "parallel_tool_calls"},
};

TEST(ChatRequest, SaysWhichFieldIsWrong) {
  for (const auto& [more, param] : kWrongFields) {
    const ApiError error = ErrorOf(Body(more));
    EXPECT_EQ(error.status, 400) << more;
    EXPECT_EQ(error.param, param) << more << ": " << error.message;
    EXPECT_EQ(error.type, "invalid_request_error") << more;
  }
}

TEST(ChatRequest, SizesHaveLimits) {
  Json many = Body();
  for (size_t i = 0; i < kMaxMessages; ++i) many["messages"].push_back(many["messages"][0]);
  EXPECT_EQ(ErrorOf(many).param, "messages");
  Json body = Body();
  body["stop"] = std::string(kMaxStopBytes + 1, 'x');
  EXPECT_EQ(ErrorOf(body).param, "stop");
  body = Body();
  body["grammar"] = std::string(kMaxGrammarBytes + 1, 'x');
  EXPECT_EQ(ErrorOf(body).param, "grammar");
  body = Body(R"({"response_format":{"type":"json_schema","json_schema":{"schema":{}}}})");
  body["response_format"]["json_schema"]["schema"]["title"] = std::string(kMaxSchemaBytes, 'x');
  EXPECT_EQ(ErrorOf(body).param, "response_format.json_schema.schema");
  body = Body(R"({"tools":[{"type":"function","function":{"name":"f"}}]})");
  body["tools"][0]["function"]["description"] = std::string(kMaxToolBytes, 'x');
  EXPECT_EQ(ErrorOf(body).param, "tools[0].function");
  body = Body();
  for (size_t i = 0; i <= kMaxTools; ++i) {
    body["tools"].push_back({{"type", "function"}, {"function", {{"name", "f" + std::to_string(i)}}}});
  }
  EXPECT_EQ(ErrorOf(body).param, "tools");
  body = Body();
  for (size_t i = 0; i <= kMaxBiases; ++i) body["logit_bias"][std::to_string(i)] = 1;
  EXPECT_EQ(ErrorOf(body).param, "logit_bias");
}

TEST(ChatRequest, AnImageIsRefusedInClearWords) {
  for (const char* type : {"image_url", "image", "input_image"}) {
    Json body = Body();
    body["messages"][0]["content"] =
        Json::array({{{"type", "text"}, {"text", "what is this?"}},
                     {{"type", type}, {"image_url", {{"url", "data:image/png;base64,AAAA"}}}}});
    const ApiError error = ErrorOf(body);
    EXPECT_EQ(error.code, "vision_not_supported");
    EXPECT_EQ(error.param, "messages[0].content[1]");
    EXPECT_THAT(error.message, testing::HasSubstr("no vision"));
  }
}

TEST(ChatRequest, CallsAndTheirResultsAreMessages) {
  const Json body =
      *ParseJson(R"({"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
    {"role":"assistant","content":"wait","tool_calls":[{"id":"1","type":"function",
                                               "function":{"name":"f","arguments":"{}"}},
                                                     {"id":"2","type":"function",
                                                      "function":{"name":"g","arguments":"{\"x\":1}"}}]},
    {"role":"tool","tool_call_id":"2","content":"22"},{"role":"developer","content":"be brief"}]})",
                 "body");
  const std::vector<ChatMessage> messages = *ReadMessages(body);
  ASSERT_EQ(messages.size(), 6u);
  EXPECT_EQ(messages[0].content, "ab");
  EXPECT_EQ(messages[1].content, "wait");
  EXPECT_EQ(messages[2].function, "f");
  EXPECT_EQ(messages[3].function, "g");
  EXPECT_EQ(messages[3].content, "{\"x\":1}");
  EXPECT_EQ(messages[4].role, "tool");
  EXPECT_EQ(messages[5].role, "system");
}

TEST(ApiError, StatusesOfTheEngine) {
  EXPECT_EQ(ToApiError(absl::UnavailableError("queue")).status, 429);
  EXPECT_GT(ToApiError(absl::UnavailableError("queue")).retry_after_seconds, 0);
  EXPECT_EQ(ToApiError(absl::ResourceExhaustedError("memory")).status, 503);
  EXPECT_GT(ToApiError(absl::ResourceExhaustedError("memory")).retry_after_seconds, 0);
  EXPECT_EQ(ToApiError(absl::DeadlineExceededError("late")).status, 504);
  EXPECT_EQ(ToApiError(UsageError("no")).status, 400);
  EXPECT_EQ(ToApiError(NotFoundError("no")).status, 404);
  EXPECT_EQ(ToApiError(FailedError("oh")).status, 500);
  const Json json = ErrorJson(ToApiError(ParameterError("n", "too many", "limit")));
  EXPECT_EQ(DumpJson(json),
            R"({"error":{"message":"too many","type":"invalid_request_error","param":"n","code":"limit"}})");
}

}  // namespace
}  // namespace fedglm
