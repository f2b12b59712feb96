// A server over the tiny GLM-4, and a client to it.
#pragma once

#include <gtest/gtest.h>
#include <httplib.h>

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "inference/api/api_server.h"
#include "tests/support/golden.h"

namespace fedglm {

// The data of each server-sent event, without the last "[DONE]"; `done` says whether it was there.
inline std::vector<Json> Events(const std::string& body, bool* done = nullptr) {
  std::vector<Json> events;
  if (done != nullptr) *done = false;
  for (size_t at = 0; (at = body.find("data: ", at)) != std::string::npos;) {
    const size_t end = body.find("\n\n", at);
    const std::string data = body.substr(at + 6, end - at - 6);
    at = end;
    if (data == "[DONE]") {
      if (done != nullptr) *done = true;
      break;
    }
    events.push_back(*ParseJson(data, "event"));
  }
  return events;
}

class ServerFixture : public testing::Test {
 protected:
  void SetUp() override {
    GOLDEN_OR_SKIP(model, "golden/glm4-tiny-q4_k_m.gguf");
    EngineOptions options;
    options.threads = 1;
    options.plan_weights = false;  // nor watch the machine's memory: the tests say what presses
    absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Open(model, options);
    ASSERT_TRUE(engine.ok()) << Message(engine.status());
    engine_ = *std::move(engine);
  }

  void Serve(ApiOptions options) {
    options.model_name = "tiny";
    absl::StatusOr<std::unique_ptr<ApiServer>> server = ApiServer::Start(*engine_, options);
    ASSERT_TRUE(server.ok()) << Message(server.status());
    server_ = *std::move(server);
    client_ = std::make_unique<httplib::Client>("127.0.0.1", server_->port());
    client_->set_read_timeout(60);
  }

  httplib::Result Post(const std::string& path, const Json& body) {
    return client_->Post(path, DumpJson(body), "application/json");
  }
  Json Answer(const std::string& path, const Json& body) {
    const auto response = Post(path, body);
    EXPECT_TRUE(response);
    if (!response) return Json();
    EXPECT_EQ(response->status, 200) << response->body;
    return *ParseJson(response->body, "answer");
  }
  // The error of a request that must be refused with `status`.
  Json Error(int status, const std::string& path, const Json& body) {
    const auto response = Post(path, body);
    EXPECT_TRUE(response);
    if (!response) return Json();
    EXPECT_EQ(response->status, status) << DumpJson(body).substr(0, 300) << "\n" << response->body;
    const absl::StatusOr<Json> json = ParseJson(response->body, "error");
    EXPECT_TRUE(json.ok()) << response->body;
    if (!json.ok() || !json->contains("error")) return Json();
    EXPECT_FALSE((*json)["error"]["message"].get<std::string>().empty());
    return (*json)["error"];
  }

  // `more` and a bias that lets the model write nothing but "x", up to max_tokens or the context.
  Json Endless(Json more) const {
    const std::vector<Token> x = engine_->tokenizer().Encode("x", {.add_special = false});
    Json body = {{"messages", Json::array({{{"role", "user"}, {"content", "hi"}}})},
                 {"max_tokens", 100000},
                 {"temperature", 0},
                 {"logit_bias", {{std::to_string(x.at(0)), 100}}}};
    for (const auto& [name, value] : more.items()) body[name] = value;
    return body;
  }

  std::unique_ptr<Engine> engine_;
  std::unique_ptr<ApiServer> server_;
  std::unique_ptr<httplib::Client> client_;
};

// A question with a short, reproducible answer; `more` is merged into it.
inline Json Question(const Json& more = Json::object()) {
  Json body = {{"model", "tiny"},
               {"messages", Json::array({{{"role", "user"}, {"content", "hi"}}})},
               {"max_tokens", 6},
               {"temperature", 0}};
  for (const auto& [name, value] : more.items()) body[name] = value;
  return body;
}

}  // namespace fedglm
