#include "inference/api/api_server.h"

#include <gmock/gmock.h>

#include <set>

#include "adapter/adapter.h"
#include "base/json.h"
#include "inference/autoglm/autoglm.h"
#include "tests/inference/api/server_fixture.h"

namespace fedglm {
namespace {

using testing::HasSubstr;

constexpr const char* kChat = "/v1/chat/completions";
constexpr const char* kText = "/v1/completions";

class ApiServerTest : public ServerFixture {
 protected:
  void SetUp() override {
    ServerFixture::SetUp();
    if (engine_ != nullptr) Serve({});
  }
};

std::string TextOf(const std::vector<Json>& events, int choice = 0) {
  std::string text;
  for (const Json& event : events) {
    for (const Json& c : event["choices"]) {
      if (c["index"] != choice) continue;
      text += c.contains("text") ? c["text"].get<std::string>() : c["delta"].value("content", "");
    }
  }
  return text;
}

TEST_F(ApiServerTest, AnswersAChat) {
  const Json answer = Answer(kChat, Question());
  EXPECT_EQ(answer["object"], "chat.completion");
  EXPECT_EQ(answer["model"], "tiny");
  EXPECT_EQ(answer["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(answer["usage"]["total_tokens"].get<int>(),
            answer["usage"]["prompt_tokens"].get<int>() + answer["usage"]["completion_tokens"].get<int>());
  EXPECT_LE(answer["usage"]["completion_tokens"].get<int>(), 6);
}

TEST_F(ApiServerTest, StreamsTheSameAnswerWithItsUsage) {
  const Json whole = Answer(kChat, Question());
  const auto streamed = Post(kChat, Question({{"stream", true}, {"stream_options", {{"include_usage", true}}}}));
  ASSERT_TRUE(streamed);
  EXPECT_EQ(streamed->get_header_value("Content-Type"), "text/event-stream");
  bool done = false;
  const std::vector<Json> events = Events(streamed->body, &done);
  EXPECT_TRUE(done);
  ASSERT_GE(events.size(), 4u);
  EXPECT_EQ(events.front()["choices"][0]["delta"]["role"], "assistant");
  EXPECT_EQ(TextOf(events), whole["choices"][0]["message"]["content"].get<std::string>());
  EXPECT_EQ(events[events.size() - 2]["choices"][0]["finish_reason"], whole["choices"][0]["finish_reason"]);
  EXPECT_TRUE(events.back()["choices"].empty());
  EXPECT_EQ(events.back()["usage"]["completion_tokens"], whole["usage"]["completion_tokens"]);
}

TEST_F(ApiServerTest, SeveralChoicesDifferAndTheSeedRepeatsThem) {
  const Json body = Question({{"n", 3}, {"seed", 7}, {"temperature", 1.5}, {"max_tokens", 12}});
  const Json first = Answer(kChat, body), second = Answer(kChat, body);
  ASSERT_EQ(first["choices"].size(), 3u);
  std::set<std::string> texts;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(first["choices"][i]["index"], i);
    EXPECT_EQ(first["choices"][i]["message"], second["choices"][i]["message"]);
    texts.insert(first["choices"][i]["message"]["content"].get<std::string>());
  }
  EXPECT_GT(texts.size(), 1u);
  Json streaming = body;
  streaming["stream"] = true;
  const std::vector<Json> events = Events(Post(kChat, streaming)->body);
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(TextOf(events, i), first["choices"][i]["message"]["content"].get<std::string>());
}

TEST_F(ApiServerTest, StopTextEndsTheAnswerAndIsNotPartOfIt) {
  const std::string text = Answer(kText, {{"prompt", "hi"}, {"temperature", 0}})["choices"][0]["text"];
  ASSERT_GE(text.size(), 4u);
  const std::string stop = text.substr(2, 2);
  const Json stopped = Answer(kText, {{"prompt", "hi"}, {"temperature", 0}, {"stop", stop}});
  EXPECT_EQ(stopped["choices"][0]["text"], text.substr(0, text.find(stop)));
  EXPECT_EQ(stopped["choices"][0]["finish_reason"], "stop");
}

TEST_F(ApiServerTest, LogprobsOfAChat) {
  const Json body = Question({{"logprobs", true}, {"top_logprobs", 3}});
  const Json answer = Answer(kChat, body);
  const Json& content = answer["choices"][0]["logprobs"]["content"];
  ASSERT_EQ(content.size(), answer["usage"]["completion_tokens"].get<size_t>());
  std::string bytes;
  for (const Json& token : content) {
    EXPECT_LE(token["logprob"].get<double>(), 0);
    ASSERT_EQ(token["top_logprobs"].size(), 3u);
    EXPECT_EQ(token["top_logprobs"][0]["bytes"], token["bytes"]);  // greedy
    EXPECT_GE(token["top_logprobs"][0]["logprob"], token["top_logprobs"][1]["logprob"]);
    for (const Json& byte : token["bytes"]) bytes += static_cast<char>(byte.get<int>());
  }
  EXPECT_THAT(bytes, HasSubstr(answer["choices"][0]["message"]["content"].get<std::string>().substr(0, 1)));
  Json streaming = body;
  streaming["stream"] = true;
  Json streamed = Json::array();
  for (const Json& event : Events(Post(kChat, streaming)->body)) {
    const Json& logprobs = event["choices"][0]["logprobs"];
    if (!logprobs.is_null()) streamed.insert(streamed.end(), logprobs["content"].begin(), logprobs["content"].end());
  }
  EXPECT_EQ(streamed.size(), content.size());
  for (size_t i = 0; i < streamed.size(); ++i) EXPECT_EQ(streamed[i]["bytes"], content[i]["bytes"]);
}

TEST_F(ApiServerTest, LogprobsOfACompletion) {
  const Json answer = Answer(kText, {{"prompt", "hi"}, {"logprobs", 2}, {"max_tokens", 4}, {"temperature", 0}});
  const Json& logprobs = answer["choices"][0]["logprobs"];
  const size_t count = answer["usage"]["completion_tokens"];
  EXPECT_EQ(logprobs["tokens"].size(), count);
  EXPECT_EQ(logprobs["token_logprobs"].size(), count);
  EXPECT_EQ(logprobs["text_offset"][0], 0);
  EXPECT_GE(logprobs["top_logprobs"][0].size(), 1u);
  EXPECT_TRUE(Answer(kText, {{"prompt", "hi"}})["choices"][0]["logprobs"].is_null());
}

TEST_F(ApiServerTest, CompletesTextsAndTokensInTheirOrder) {
  const Json one = Answer(kText, {{"prompt", "one"}, {"temperature", 0}});
  const Json two = Answer(kText, {{"prompt", "two"}, {"temperature", 0}});
  EXPECT_EQ(one["object"], "text_completion");
  EXPECT_LE(one["usage"]["completion_tokens"].get<int>(), 16);
  const Json both = Answer(kText, {{"prompt", {"one", "two"}}, {"temperature", 0}, {"n", 2}});
  ASSERT_EQ(both["choices"].size(), 4u);
  EXPECT_EQ(both["choices"][1]["text"], one["choices"][0]["text"]);
  EXPECT_EQ(both["choices"][2]["text"], two["choices"][0]["text"]);
  const Json tokens = Answer("/tokenize", {{"content", "one"}})["tokens"];
  EXPECT_EQ(Answer(kText, {{"prompt", tokens}, {"temperature", 0}})["choices"][0]["text"], one["choices"][0]["text"]);
  const std::string echoed =
      Answer(kText, {{"prompt", "one"}, {"temperature", 0}, {"echo", true}})["choices"][0]["text"];
  EXPECT_THAT(echoed, testing::EndsWith("one" + one["choices"][0]["text"].get<std::string>()));
  const std::vector<Json> events = Events(Post(kText, {{"prompt", "one"}, {"temperature", 0}, {"stream", true}})->body);
  EXPECT_EQ(TextOf(events), one["choices"][0]["text"].get<std::string>());
}

TEST_F(ApiServerTest, ABiasAndThePenaltiesChangeTheAnswer) {
  const Json tokens = Answer("/tokenize", {{"content", "x"}, {"add_special", false}})["tokens"];
  ASSERT_EQ(tokens.size(), 1u);
  const Json bias = {{std::to_string(tokens[0].get<int>()), 100}};
  const Json biased = Answer(kText, {{"prompt", "hi"}, {"max_tokens", 4}, {"temperature", 0}, {"logit_bias", bias}});
  EXPECT_EQ(biased["choices"][0]["text"], "xxxx");
  const Json penalised = Answer(kText, {{"prompt", "hi"},
                                        {"max_tokens", 4},
                                        {"temperature", 0},
                                        {"logit_bias", bias},
                                        {"presence_penalty", 2},
                                        {"frequency_penalty", 2}});
  EXPECT_EQ(penalised["choices"][0]["text"], "xxxx");  // 100 outweighs them: they are no ban
}

TEST_F(ApiServerTest, AnswersAreJsonIfTheyMustBe) {
  for (int seed = 1; seed <= 5; ++seed) {
    const Json any = Answer(
        kChat,
        Question(
            {{"response_format", {{"type", "json_object"}}}, {"seed", seed}, {"temperature", 1}, {"max_tokens", 400}}));
    if (any["choices"][0]["finish_reason"] == "stop") {
      const auto json = ParseJson(any["choices"][0]["message"]["content"].get<std::string>(), "content");
      ASSERT_TRUE(json.ok()) << any;
      EXPECT_TRUE(json->is_object());
    }
    const Json schema = {{"type", "object"},
                         {"properties", {{"fever", {{"type", "boolean"}}}}},
                         {"required", Json::array({"fever"})},
                         {"additionalProperties", false}};
    const Json format = {{"type", "json_schema"}, {"json_schema", {{"name", "finding"}, {"schema", schema}}}};
    const Json fixed =
        Answer(kChat, Question({{"response_format", format}, {"seed", seed}, {"temperature", 1}, {"max_tokens", 400}}));
    ASSERT_EQ(fixed["choices"][0]["finish_reason"], "stop") << fixed;
    const std::string content = fixed["choices"][0]["message"]["content"];
    EXPECT_TRUE((*ParseJson(content, "content"))["fever"].is_boolean());
  }
}

TEST_F(ApiServerTest, AGrammarIsObeyed) {
  const Json answer = Answer(kText, {{"prompt", "hi"},
                                     {"temperature", 1},
                                     {"max_tokens", 64},
                                     {"grammar", "root ::= \"ye\" \"s\"+ \"!\""},
                                     {"seed", 3}});
  const std::string text = answer["choices"][0]["text"];
  if (answer["choices"][0]["finish_reason"] == "stop") {
    EXPECT_THAT(text, testing::MatchesRegex("yes+!"));
  }
  EXPECT_THAT(text, testing::StartsWith("yes"));
  int whole = 0;
  for (int seed = 1; seed <= 8; ++seed) {
    const Json autoglm =
        Answer(kChat, Question({{"grammar", "autoglm"}, {"max_tokens", 2000}, {"temperature", 1}, {"seed", seed}}));
    const std::string reply = autoglm["choices"][0]["message"]["content"];
    EXPECT_THAT(reply, testing::StartsWith("<think>"));
    if (autoglm["choices"][0]["finish_reason"] != "stop") continue;  // random weights may think for long
    EXPECT_TRUE(ParseAutoglmReply(reply).ok()) << reply;
    ++whole;
  }
  EXPECT_GT(whole, 0);
  EXPECT_EQ(Error(400, kChat, Question({{"grammar", "no-such-grammar"}}))["param"], "grammar");
  EXPECT_EQ(Error(400, kChat, Question({{"grammar", "root ::= missing"}}))["param"], "grammar");
}

Json WeatherTool() {
  return {{"type", "function"},
          {"function",
           {{"name", "get_weather"},
            {"description", "the weather of a place"},
            {"parameters",
             {{"type", "object"},
              {"properties", {{"metric", {{"type", "boolean"}}}}},
              {"required", Json::array({"metric"})},
              {"additionalProperties", false}}}}}};
}

TEST_F(ApiServerTest, AToolThatMustBeCalledIsCalled) {
  const Json body = Question({{"tools", Json::array({WeatherTool()})},
                              {"max_tokens", 200},
                              {"tool_choice", {{"type", "function"}, {"function", {{"name", "get_weather"}}}}}});
  const Json answer = Answer(kChat, body);
  const Json& choice = answer["choices"][0];
  ASSERT_EQ(choice["finish_reason"], "tool_calls") << answer;
  EXPECT_TRUE(choice["message"]["content"].is_null());
  const Json& call = choice["message"]["tool_calls"][0];
  EXPECT_EQ(call["type"], "function");
  EXPECT_EQ(call["function"]["name"], "get_weather");
  EXPECT_TRUE((*ParseJson(call["function"]["arguments"].get<std::string>(), "arguments"))["metric"].is_boolean());

  Json streaming = body;
  streaming["stream"] = true;
  std::string name, arguments, reason;
  for (const Json& event : Events(Post(kChat, streaming)->body)) {
    const Json& delta = event["choices"][0]["delta"];
    EXPECT_EQ(delta.value("content", ""), "");
    if (delta.contains("tool_calls")) {
      EXPECT_EQ(delta["tool_calls"][0]["index"], 0);
      name += delta["tool_calls"][0]["function"].value("name", "");
      arguments += delta["tool_calls"][0]["function"]["arguments"].get<std::string>();
    }
    if (!event["choices"][0]["finish_reason"].is_null()) reason = event["choices"][0]["finish_reason"];
  }
  EXPECT_EQ(name, "get_weather");
  EXPECT_EQ(arguments, call["function"]["arguments"].get<std::string>());
  EXPECT_EQ(reason, "tool_calls");

  // The conversation goes on with the tool's answer.
  Json next = Question({{"tools", Json::array({WeatherTool()})}});
  next["messages"].push_back(choice["message"]);
  next["messages"].push_back({{"role", "tool"}, {"tool_call_id", call["id"]}, {"content", "12 degrees"}});
  EXPECT_EQ(Answer(kChat, next)["choices"][0]["message"]["role"], "assistant");
}

TEST_F(ApiServerTest, ModelsAreTheBaseAndItsAdapters) {
  GOLDEN_OR_SKIP(lora, "golden/glm4-tiny-lora");
  const auto adapter = LoadAdapter(lora);
  ASSERT_TRUE(adapter.ok()) << Message(adapter.status());
  ASSERT_TRUE(engine_->AddAdapter("ward-7", std::make_shared<const Adapter>(*adapter)).ok());
  const Json models = *ParseJson(client_->Get("/v1/models")->body, "models");
  ASSERT_EQ(models["data"].size(), 2u);
  EXPECT_EQ(models["data"][0]["id"], "tiny");
  EXPECT_EQ(models["data"][1]["id"], "ward-7");
  EXPECT_EQ((*ParseJson(client_->Get("/v1/models/ward-7")->body, "model"))["id"], "ward-7");
  EXPECT_EQ(client_->Get("/v1/models/nothing")->status, 404);
  EXPECT_EQ(Answer(kChat, Question({{"model", "ward-7"}}))["model"], "ward-7");
  Json completion = {{"model", "ward-7"}, {"prompt", "hi"}, {"logprobs", 0}, {"temperature", 0}};
  const Json adapted = Answer(kText, completion)["choices"][0]["logprobs"];
  completion["model"] = "tiny";
  EXPECT_NE(adapted, Answer(kText, completion)["choices"][0]["logprobs"]);
  for (const char* path : {kChat, kText, "/v1/embeddings"}) {
    Json body = Question({{"model", "gpt-4"}, {"prompt", "hi"}, {"input", "hi"}});
    EXPECT_EQ(Error(404, path, body)["code"], "model_not_found") << path;
  }
}

TEST_F(ApiServerTest, Embeddings) {
  const Json input = {"fever and cough", "fever and cough", "x"};
  const Json answer = Answer("/v1/embeddings", {{"model", "tiny"}, {"input", input}});
  ASSERT_EQ(answer["data"].size(), 3u);
  double length = 0;
  for (const Json& value : answer["data"][0]["embedding"]) length += value.get<double>() * value.get<double>();
  EXPECT_NEAR(length, 1, 1e-4);
  EXPECT_EQ(answer["data"][0]["embedding"].size(), static_cast<size_t>(engine_->hyperparameters().hidden));
  EXPECT_NE(answer["data"][0]["embedding"], answer["data"][2]["embedding"]);
  EXPECT_EQ(answer["data"][2]["index"], 2);
  const Json encoded = Answer("/v1/embeddings", {{"input", "x"}, {"encoding_format", "base64"}});
  const size_t bytes = static_cast<size_t>(engine_->hyperparameters().hidden) * 4;
  EXPECT_EQ(encoded["data"][0]["embedding"].get<std::string>().size(), (bytes + 2) / 3 * 4);
  EXPECT_EQ(Error(400, "/v1/embeddings", {{"input", Json::array()}})["param"], "input");
  EXPECT_EQ(Error(400, "/v1/embeddings", {{"input", "x"}, {"dimensions", 3}})["param"], "dimensions");
  EXPECT_EQ(Error(400, "/v1/embeddings", {{"input", "x"}, {"encoding_format", "int8"}})["param"], "encoding_format");
}

TEST_F(ApiServerTest, TokensThereAndBack) {
  const Json text = {{"content", "fever and cough"}, {"add_special", false}, {"with_pieces", true}};
  const Json tokens = Answer("/tokenize", text);
  EXPECT_EQ(tokens["count"], tokens["tokens"].size());
  EXPECT_EQ(tokens["pieces"].size(), tokens["tokens"].size());
  EXPECT_EQ(Answer("/detokenize", {{"tokens", tokens["tokens"]}})["content"], "fever and cough");
  EXPECT_GT(Answer("/tokenize", {{"messages", Question()["messages"]}})["count"].get<int>(), 3);
  EXPECT_EQ(Error(400, "/tokenize", Json::object())["param"], "content");
  EXPECT_EQ(Error(400, "/detokenize", {{"tokens", {1, -1}}})["param"], "tokens");
}

TEST_F(ApiServerTest, EveryAnswerHasARequestId) {
  const httplib::Headers own = {{"x-request-id", "ward-7:42"}}, bad = {{"x-request-id", "a b\tc"}};
  EXPECT_EQ(client_->Get("/v1/models", own)->get_header_value("x-request-id"), "ward-7:42");
  EXPECT_THAT(client_->Get("/v1/models", bad)->get_header_value("x-request-id"), testing::StartsWith("req_"));
  EXPECT_THAT(client_->Get("/nowhere")->get_header_value("x-request-id"), testing::StartsWith("req_"));
  EXPECT_THAT(Post(kChat, Json::object())->get_header_value("x-request-id"), testing::StartsWith("req_"));
  const std::string first = client_->Get("/health")->get_header_value("x-request-id");
  EXPECT_NE(first, client_->Get("/health")->get_header_value("x-request-id"));
}

TEST_F(ApiServerTest, MetricsCountWhatHappened) {
  Answer(kChat, Question());
  Error(400, kChat, Json::object());
  const auto metrics = client_->Get("/metrics");
  ASSERT_EQ(metrics->status, 200);
  EXPECT_THAT(metrics->get_header_value("Content-Type"), testing::StartsWith("text/plain; version=0.0.4"));
  for (const char* line :
       {"fedglm_requests_total{route=\"POST /v1/chat/completions\",status=\"200\"} 1",
        "fedglm_refusals_total{reason=\"invalid\"} 1", "fedglm_first_token_seconds_count 1",
        "fedglm_queue_seconds_count 1", "fedglm_token_seconds_bucket", "fedglm_generated_tokens_total 6",
        "fedglm_memory_bytes{account=\"", "process_resident_memory_bytes ", "fedglm_cache_evictions_total 0",
        "fedglm_cache_hit_tokens_total"}) {
    EXPECT_THAT(metrics->body, HasSubstr(line));
  }
}

TEST_F(ApiServerTest, WhatIsNotARequestIsRefusedInOpenAisShape) {
  for (const char* body : {"", "{", "[]", "null", "{\"messages\":[],\"messages\":[]}"}) {
    const auto answer = client_->Post(kChat, body, "application/json");
    ASSERT_TRUE(answer) << body;
    EXPECT_EQ(answer->status, 400) << body;
    EXPECT_EQ((*ParseJson(answer->body, "error"))["error"]["type"], "invalid_request_error") << body;
  }
  EXPECT_EQ(client_->Get("/v2/nothing")->status, 404);
  EXPECT_EQ((*ParseJson(client_->Get("/v2/nothing")->body, "error"))["error"]["code"], "unknown_url");
  const httplib::MultipartFormDataItems form = {{"a", "b", "", ""}};
  EXPECT_EQ(client_->Post(kChat, form)->status, 415);
}

TEST_F(ApiServerTest, ABodyThatNobodyWantsIsNotKept) {
  client_->set_keep_alive(true);
  const std::string body(1 << 20, 'x');
  EXPECT_EQ(client_->Post("/nowhere", body, "application/json")->status, 404);
  EXPECT_EQ(client_->Put(kChat, body, "application/json")->status, 404);
  EXPECT_EQ(client_->Delete("/v1/models/tiny", body, "application/json")->status, 404);
  // In chunks, whose length nobody has announced.
  size_t sent = 0;
  const auto send_chunk = [&](size_t, httplib::DataSink& sink) {
    if (sent >= (20u << 20)) {
      sink.done();
      return true;
    }
    sent += body.size();
    return sink.write(body.data(), body.size());
  };
  const auto endless = client_->Post(kChat, send_chunk, "application/json");
  if (endless) {  // else the connection was closed before all was sent
    EXPECT_EQ(endless->status, 413);
  }
  EXPECT_EQ(client_->Get("/health")->status, 200);
}

TEST_F(ApiServerTest, ABodyTooLargeIsRefusedAndTheConnectionGoesOn) {
  client_->set_keep_alive(true);
  const auto answer = client_->Post(kChat, std::string((8 << 20) + 1, ' '), "application/json");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 413);
  EXPECT_EQ((*ParseJson(answer->body, "error"))["error"]["code"], "request_too_large");
  EXPECT_EQ(client_->Get("/health")->status, 200);
}

TEST_F(ApiServerTest, JsonThatTakesManyTimesItsLengthIsRefused) {
  std::string body = "[[]";
  while (body.size() < (4 << 20)) body += ",[]";
  const auto answer = client_->Post(kChat, body + "]", "application/json");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 400);
  EXPECT_THAT(answer->body, HasSubstr("too much memory"));
}

TEST_F(ApiServerTest, APromptLongerThanTheContextIsRefused) {
  std::string text;
  for (int i = 0; i < 20000; ++i) text += " fever";
  const Json error = Error(400, kChat, {{"messages", Json::array({{{"role", "user"}, {"content", text}}})}});
  EXPECT_EQ(error["code"], "context_length_exceeded");
  EXPECT_EQ(error["param"], "messages");
}

TEST_F(ApiServerTest, APromptOfAMegabyteIsRefusedByItsBeginning) {
  std::string text;
  for (int i = 0; i < 200000; ++i) text += " fever";
  const Json texts = Json::array({"short", text});
  for (const auto& [path, body, field] :
       {std::tuple<const char*, Json, const char*>{
            kChat, {{"messages", Json::array({{{"role", "user"}, {"content", text}}})}}, "messages"},
        {kText, {{"prompt", text}}, "prompt"},
        {kText, {{"prompt", texts}}, "prompt"},
        {"/v1/embeddings", {{"input", texts}}, "input"}}) {
    const Json error = Error(400, path, body);
    EXPECT_EQ(error["code"], "context_length_exceeded");
    EXPECT_EQ(error["param"], field);
    EXPECT_THAT(error["message"].get<std::string>(), testing::HasSubstr("is more than "));  // it was not counted
  }
}

TEST_F(ApiServerTest, WithoutMemoryItSaysWhenToComeBack) {
  engine_->SetMemoryPressure(4);
  for (const bool stream : {false, true}) {
    const auto refused = Post(kChat, Question({{"stream", stream}}));
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->status, 503) << refused->body;
    EXPECT_FALSE(refused->get_header_value("Retry-After").empty());
  }
  engine_->SetMemoryPressure(0);
  EXPECT_EQ(Post(kChat, Question())->status, 200);
}

TEST_F(ApiServerTest, APortInUseIsAnError) {
  const auto second = ApiServer::Start(*engine_, {.port = server_->port()});
  EXPECT_EQ(ExitCodeOf(second.status()), ExitCode::kUnreachable);
}

TEST_F(ApiServerTest, OtherMachinesNeedKeysAndTls) {
  for (const char* host : {"0.0.0.0", "::", "192.0.2.1"}) {
    const auto open = ApiServer::Start(*engine_, {.host = host});
    EXPECT_EQ(ExitCodeOf(open.status()), ExitCode::kConfiguration) << host;
  }
  EXPECT_FALSE(CheckExposure({.host = "0.0.0.0", .api_keys = "keys"}).ok());
  EXPECT_FALSE(CheckExposure({.host = "0.0.0.0", .tls_certificate = "c", .tls_key = "k"}).ok());
  EXPECT_FALSE(CheckExposure({.tls_certificate = "c"}).ok());
  EXPECT_TRUE(CheckExposure({.host = "0.0.0.0", .api_keys = "keys", .tls_certificate = "c", .tls_key = "k"}).ok());
  EXPECT_TRUE(CheckExposure({.host = "0.0.0.0", .insecure_open = true}).ok());
}

}  // namespace
}  // namespace fedglm
