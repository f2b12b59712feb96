// Upstreams: who is asked, when, and above all who is never asked.
#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "base/clock.h"
#include "base/configuration.h"
#include "base/json.h"
#include "inference/api/site_hosts.h"
#include "tests/inference/api/server_fixture.h"

namespace fedglm {
namespace {

using testing::HasSubstr;

constexpr const char* kChat = "/v1/chat/completions";

// Another server of the site, which answers as it is told.
class FakeUpstream {
 public:
  FakeUpstream() {
    server_.Post(".*", [this](const httplib::Request& request, httplib::Response& response) {
      ++asked;
      body = request.body;
      authorization = request.get_header_value("Authorization");
      request_id = request.get_header_value("x-request-id");
      if (failures_left > 0) {
        --failures_left;
        response.status = fail_with;
        if (fail_with == 302) response.set_header("Location", redirect_to);
        response.set_content("{}", "application/json");
      } else if ((*ParseJson(body, "body")).value("stream", false)) {
        response.set_chunked_content_provider("text/event-stream", [this](size_t, httplib::DataSink& sink) {
          const std::string text = "data: {\"choices\":[]}\n\n", end = "data: [DONE]\n\n";
          sink.write(text.data(), text.size());
          Hang();
          if (breaks_off) return false;
          sink.write(end.data(), end.size());
          sink.done();
          return true;
        });
      } else {
        Hang();
        response.set_content(R"({"from":"upstream","usage":{"completion_tokens":3}})", "application/json");
      }
    });
    port = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();
  }
  ~FakeUpstream() {
    StopHanging();
    server_.stop();
    thread_.join();
  }
  void StopHanging() {
    hangs = false;
    hangs.notify_all();
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port); }

  int port = 0;
  std::atomic<int> asked{0}, failures_left{0};
  std::atomic<bool> hangs{false}, breaks_off{false};
  int fail_with = 500;
  std::string body, authorization, request_id, redirect_to;

 private:
  void Hang() const { hangs.wait(true); }

  httplib::Server server_;
  std::thread thread_;
};

class UpstreamTest : public ServerFixture {
 protected:
  ApiOptions With(UpstreamOptions upstream) {
    upstream.backoff_seconds = 0.01;
    ApiOptions options;
    options.upstreams = {std::move(upstream)};
    options.upstream_allow = {"127.0.0.1"};
    return options;
  }
  FakeUpstream fake_;
};

TEST_F(UpstreamTest, IsNotAskedWhileThisServerHasRoom) {
  if (engine_ == nullptr) return;
  Serve(With({.url = fake_.url()}));
  EXPECT_EQ(Answer(kChat, Question())["model"], "tiny");
  Error(400, kChat, Json::object());
  Error(404, kChat, Question({{"model", "unknown"}}));
  EXPECT_EQ(fake_.asked, 0);
}

TEST_F(UpstreamTest, AnswersInsteadOfARefusal) {
  if (engine_ == nullptr) return;
  Serve(With({.url = fake_.url(), .model = "big"}));
  engine_->SetMemoryPressure(4);
  client_->set_default_headers({{"x-request-id", "r1"}, {"Authorization", "Bearer the-clients-own"}});
  EXPECT_EQ(Answer(kChat, Question())["from"], "upstream");
  EXPECT_EQ((*ParseJson(fake_.body, "body"))["model"], "big");
  EXPECT_EQ((*ParseJson(fake_.body, "body"))["messages"], Question()["messages"]);
  EXPECT_EQ(fake_.request_id, "r1");
  EXPECT_EQ(fake_.authorization, "") << "a client's key is not the upstream's business";
  const auto streamed = Post(kChat, Question({{"stream", true}}));
  EXPECT_EQ(streamed->get_header_value("Content-Type"), "text/event-stream");
  EXPECT_THAT(streamed->body, HasSubstr("data: [DONE]"));
  EXPECT_THAT(client_->Get("/metrics")->body, HasSubstr("outcome=\"answered\",upstream=\"" + fake_.url()));
}

TEST_F(UpstreamTest, HasModelsOfItsOwn) {
  if (engine_ == nullptr) return;
  Serve(With({.url = fake_.url(), .models = {"big"}, .fallback = false}));
  EXPECT_THAT(client_->Get("/v1/models")->body, HasSubstr("\"big\""));
  EXPECT_EQ(Answer(kChat, Question({{"model", "big"}}))["from"], "upstream");
  EXPECT_EQ(Answer("/v1/embeddings", {{"model", "big"}, {"input", "x"}})["from"], "upstream");
  engine_->SetMemoryPressure(4);
  Error(503, kChat, Question());  // no fallback
  EXPECT_EQ(fake_.asked, 2);
}

TEST_F(UpstreamTest, IsAskedAgainAndThenLeftAloneForAWhile) {
  if (engine_ == nullptr) return;
  Serve(With({.url = fake_.url(), .models = {"big"}, .retries = 2, .cooldown_failures = 4}));
  fake_.failures_left = 2;
  EXPECT_EQ(Answer(kChat, Question({{"model", "big"}}))["from"], "upstream");
  EXPECT_EQ(fake_.asked, 3);
  fake_.failures_left = 100;
  Error(502, kChat, Question({{"model", "big"}}));  // three more failures
  EXPECT_EQ(fake_.asked, 6);
  Error(502, kChat, Question({{"model", "big"}}));  // the fourth in a row
  EXPECT_EQ(fake_.asked, 7);
  const Stopwatch watch;
  Error(502, kChat, Question({{"model", "big"}}));
  EXPECT_EQ(fake_.asked, 7) << "it cools down";
  EXPECT_LT(watch.Seconds(), 15);  // refused at once, not after the 30 in which it cools down
}

TEST_F(UpstreamTest, AStreamThatBreaksOffIsAFailure) {
  if (engine_ == nullptr) return;
  Serve(With({.url = fake_.url(), .models = {"big"}, .cooldown_failures = 2}));
  fake_.breaks_off = true;
  const Json request = Question({{"model", "big"}, {"stream", true}});
  EXPECT_FALSE(Post(kChat, request)) << "not to be taken for a whole answer";
  EXPECT_FALSE(Post(kChat, request));
  EXPECT_THAT(client_->Get("/metrics")->body, HasSubstr("outcome=\"broken_off\",upstream=\"" + fake_.url() + "\"} 2"));
  Error(502, kChat, request);
  EXPECT_EQ(fake_.asked, 2) << "it cools down";
}

TEST_F(UpstreamTest, AnAnswerThatTakesTooLongIsATimeout) {
  if (engine_ == nullptr) return;
  ApiOptions options = With({.url = fake_.url(), .models = {"big"}});
  options.request_seconds = 1.5;
  Serve(options);
  fake_.hangs = true;
  EXPECT_EQ(Error(504, kChat, Question({{"model", "big"}}))["code"], "timeout");
  EXPECT_FALSE(Post(kChat, Question({{"model", "big"}, {"stream", true}})));
  EXPECT_EQ(fake_.asked, 2) << "none is asked again: there is no time left";
  EXPECT_THAT(client_->Get("/metrics")->body, HasSubstr("outcome=\"timed_out\",upstream=\"" + fake_.url() + "\"} 2"));
  fake_.StopHanging();
  EXPECT_EQ(Answer(kChat, Question({{"model", "big"}}))["from"], "upstream");
}

TEST_F(UpstreamTest, ItsRefusalOfABadRequestIsPassedOn) {
  if (engine_ == nullptr) return;
  Serve(With({.url = fake_.url(), .models = {"big"}}));
  fake_.failures_left = 1;
  fake_.fail_with = 422;
  EXPECT_EQ(Post(kChat, Question({{"model", "big"}}))->status, 422);
  EXPECT_EQ(fake_.asked, 1);
}

TEST_F(UpstreamTest, ARedirectLeadsAPromptNowhere) {
  if (engine_ == nullptr) return;
  FakeUpstream elsewhere;
  Serve(With({.url = fake_.url(), .models = {"big"}}));
  fake_.failures_left = 100;
  fake_.fail_with = 302;
  fake_.redirect_to = elsewhere.url() + kChat;
  Error(502, kChat, Question({{"model", "big"}}));
  EXPECT_EQ(elsewhere.asked, 0);
}

TEST_F(UpstreamTest, AHostThatTheRuleDoesNotNameStopsTheServerFromStarting) {
  if (engine_ == nullptr) return;
  for (const char* url : {"http://llm.example.com", "http://127.0.0.2:80", "http://user@127.0.0.1", "ftp://127.0.0.1",
                          "http://127.0.0.1/path?x", "http://127.0.0.1@example.com", "127.0.0.1:80", ""}) {
    const auto server = ApiServer::Start(*engine_, With({.url = url}));
    EXPECT_EQ(ExitCodeOf(server.status()), ExitCode::kConfiguration) << url;
  }
  ApiOptions no_rule = With({.url = fake_.url()});
  no_rule.upstream_allow.clear();
  EXPECT_FALSE(ApiServer::Start(*engine_, no_rule).ok());
}

TEST(SiteHosts, ARuleNamesHostsAddressesAndNetworks) {
  const SiteHosts hosts = *SiteHosts::Parse({"llm.site", "192.0.2.7", "10.1.0.0/16", "fd00::/8"});
  for (const char* inside : {"llm.site", "LLM.Site", "192.0.2.7", "10.1.255.1", "fd12::1", "::ffff:10.1.2.3"}) {
    EXPECT_TRUE(hosts.CheckHost(inside).ok()) << inside;
  }
  for (const char* outside :
       {"site", "x.llm.site", "llm.site.example.com", "192.0.2.8", "10.2.0.1", "fe00::1", "", "10.1"}) {
    EXPECT_EQ(ExitCodeOf(hosts.CheckHost(outside)), ExitCode::kRefused) << outside;
  }
  for (const char* wrong : {"10.0.0.0/33", "10.0.0/8", "a b", "", "*", "10.0.0.0/x", "http://a"}) {
    EXPECT_FALSE(SiteHosts::Parse({wrong}).ok()) << wrong;
  }
}

TEST(SiteHosts, ANameIsNotEnoughIfItLeadsOutside) {
  const SiteHosts hosts = *SiteHosts::Parse({"localhost", "192.0.2.7"});
  EXPECT_TRUE(hosts.Resolve("localhost").ok());
  EXPECT_EQ(*hosts.Resolve("192.0.2.7"), "192.0.2.7");  // public, but named itself
  EXPECT_EQ(ExitCodeOf(hosts.Resolve("192.0.2.8").status()), ExitCode::kRefused);
}

TEST(ApiOptions, AreReadFromATable) {
  Configuration c = *Configuration::Parse(R"(
[serve]
listen = "127.0.0.1:9"
api_keys = "/etc/fedglm/keys"
request_timeout = 30.0
upstream_allow = ["10.0.0.0/8"]
[[serve.upstream]]
url = "http://10.0.0.1:8080"
models = ["big"]
[[serve.upstream]]
url = "https://10.0.0.2"
fallback = false
retries = 0
)",
                                          "node.toml");
  const absl::StatusOr<ApiOptions> options = ReadApiOptions(c, {});
  ASSERT_TRUE(options.ok()) << Message(options.status());
  EXPECT_TRUE(c.Finish().ok());
  EXPECT_EQ(options->port, 9);
  EXPECT_EQ(options->api_keys, "/etc/fedglm/keys");
  EXPECT_EQ(options->request_seconds, 30);
  ASSERT_EQ(options->upstreams.size(), 2u);
  EXPECT_EQ(options->upstreams[0].models, std::vector<std::string>{"big"});
  EXPECT_TRUE(options->upstreams[0].fallback);
  EXPECT_FALSE(options->upstreams[1].fallback);
  EXPECT_EQ(options->upstreams[1].retries, 0);
}

TEST(ApiOptions, WhatIsWrongInATableIsNamed) {
  const std::pair<const char*, const char*> wrong[] = {
      {"[[serve.upstream]]\nurl = 'http://a'\ncolour = 7\n", "node.toml:3: unknown key 'serve.upstream[0].colour'"},
      {"[[serve.upstream]]\nmodel = 'x'\n", "serve.upstream[0].url"},
      {"[serve]\nupstream = 7\n", "serve.upstream"},
      {"[serve]\nlisten = '8080'\n", "serve.listen"},
      {"[serve]\nidle_timeout = 0\n", "serve.idle_timeout"},
  };
  for (const auto& [text, message] : wrong) {
    Configuration c = *Configuration::Parse(text, "node.toml");
    absl::Status status = ReadApiOptions(c, {}).status();
    if (status.ok()) status = c.Finish();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kConfiguration) << text;
    EXPECT_THAT(Message(status), HasSubstr(message));
  }
}

}  // namespace
}  // namespace fedglm
