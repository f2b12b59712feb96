#include "inference/api/api_server.h"

#include <gtest/gtest.h>
#include <httplib.h>

#include "base/json.h"
#include "tests/support/golden.h"

namespace fedglm {
namespace {

class ApiServerTest : public testing::Test {
 protected:
  void SetUp() override {
    GOLDEN_OR_SKIP(model, "golden/glm4-tiny-q4_k_m.gguf");
    absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Open(model, {.threads = 2});
    ASSERT_TRUE(engine.ok()) << Message(engine.status());
    engine_ = *std::move(engine);
    absl::StatusOr<std::unique_ptr<ApiServer>> server = ApiServer::Start(*engine_, {.model_name = "tiny"});
    ASSERT_TRUE(server.ok()) << Message(server.status());
    server_ = *std::move(server);
    client_ = std::make_unique<httplib::Client>("127.0.0.1", server_->port());
    client_->set_read_timeout(60);
  }
  httplib::Result Post(const std::string& body) { return client_->Post("/v1/chat/completions", body, "application/json"); }

  std::unique_ptr<Engine> engine_;
  std::unique_ptr<ApiServer> server_;
  std::unique_ptr<httplib::Client> client_;
};

const char kQuestion[] = R"({"messages":[{"role":"user","content":"hi"}],"max_tokens":6,"temperature":0)";

TEST_F(ApiServerTest, AnswersAndListsItsModel) {
  const auto answer = Post(std::string(kQuestion) + "}");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  const Json json = *ParseJson(answer->body, "answer");
  EXPECT_EQ(json["object"], "chat.completion");
  EXPECT_EQ(json["model"], "tiny");
  EXPECT_EQ(json["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(json["usage"]["total_tokens"].get<int>(),
            json["usage"]["prompt_tokens"].get<int>() + json["usage"]["completion_tokens"].get<int>());
  const auto models = client_->Get("/v1/models");
  ASSERT_TRUE(models);
  EXPECT_EQ((*ParseJson(models->body, "models"))["data"][0]["id"], "tiny");
}

TEST_F(ApiServerTest, StreamsTheSameAnswer) {
  const auto whole = Post(std::string(kQuestion) + "}");
  const auto streamed = Post(std::string(kQuestion) + R"(,"stream":true,"stream_options":{"include_usage":true}})");
  ASSERT_TRUE(whole && streamed);
  EXPECT_EQ(streamed->get_header_value("Content-Type"), "text/event-stream");
  std::string text;
  int events = 0;
  bool done = false, usage = false;
  for (size_t at = streamed->body.find("data: "); at != std::string::npos; at = streamed->body.find("data: ", at + 1)) {
    const std::string line = streamed->body.substr(at + 6, streamed->body.find('\n', at) - at - 6);
    done = line == "[DONE]";
    if (done) break;
    ++events;
    const Json chunk = *ParseJson(line, "chunk");
    usage |= chunk.contains("usage");
    if (!chunk["choices"].empty()) text += chunk["choices"][0]["delta"].value("content", "");
  }
  EXPECT_TRUE(done);
  EXPECT_TRUE(usage);
  EXPECT_GE(events, 3);
  EXPECT_EQ(text, (*ParseJson(whole->body, "whole"))["choices"][0]["message"]["content"].get<std::string>());
}

TEST_F(ApiServerTest, SaysWhatIsWrong) {
  for (const char* body : {"", "{", "[]", "{}", R"({"messages":[]})", R"({"messages":[{"role":"nobody","content":"x"}]})",
                           R"({"messages":[{"role":"user","content":7}]})",
                           R"({"messages":[{"role":"user","content":"x"}],"temperature":"hot"})",
                           R"({"messages":[{"role":"user","content":"x"}],"max_tokens":-1})",
                           R"({"messages":[{"role":"user","content":"x"}],"n":3})"}) {
    const auto answer = Post(body);
    ASSERT_TRUE(answer) << body;
    EXPECT_EQ(answer->status, 400) << body;
    EXPECT_FALSE((*ParseJson(answer->body, "error"))["error"]["message"].get<std::string>().empty());
  }
  EXPECT_EQ(client_->Get("/v2/nothing")->status, 404);
}

TEST_F(ApiServerTest, APortInUseIsAnError) {
  const auto second = ApiServer::Start(*engine_, {.port = server_->port()});
  EXPECT_EQ(ExitCodeOf(second.status()), ExitCode::kUnreachable);
}

}  // namespace
}  // namespace fedglm
