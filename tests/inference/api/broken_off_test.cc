// Answers that do not come to their end: the time is up, the client goes away, the server stops.
#include <gmock/gmock.h>

#include <thread>

#include "base/json.h"
#include "tests/inference/api/server_fixture.h"
#include "tests/support/wait_until.h"

namespace fedglm {
namespace {

using testing::HasSubstr;

constexpr const char* kChat = "/v1/chat/completions";

class BrokenOffTest : public ServerFixture {
 protected:
  void SetUp() override {
    ServerFixture::SetUp();
    if (engine_ != nullptr) Serve({});
  }
};

TEST_F(BrokenOffTest, AnAnswerThatTakesTooLongIsATimeout) {
  Serve({.request_seconds = 0.05});
  EXPECT_EQ(Error(504, kChat, Endless({{"n", 8}}))["code"], "timeout");
  // Nothing is streamed before the first token, for which a busy machine may need longer.
  httplib::Result streamed(nullptr, httplib::Error::Unknown);
  for (double limit = 0.05; limit < 1 && (!streamed || streamed->status == 504); limit *= 2) {
    Serve({.request_seconds = limit});
    streamed = Post(kChat, Endless({{"n", 8}, {"stream", true}}));
  }
  ASSERT_TRUE(streamed);
  EXPECT_EQ(streamed->status, 200);
  bool done = false;
  EXPECT_EQ(Events(streamed->body, &done).back()["error"]["code"], "timeout");
  EXPECT_TRUE(done);
}

TEST_F(BrokenOffTest, EmbeddingsThatTakeTooLongAreATimeout) {
  Serve({.request_seconds = 0.05});
  Json texts = Json::array();
  for (int i = 0; i < 100; ++i) {
    std::string text;
    for (int word = 0; word < 400; ++word) text += " fever" + std::to_string(i);
    texts.push_back(text);
  }
  EXPECT_EQ(Error(504, "/v1/embeddings", {{"input", texts}})["code"], "timeout");
  EXPECT_TRUE(WaitUntil([&] { return engine_->Statistics().running == 0; }));
}

TEST_F(BrokenOffTest, AClientThatGoesAwayEndsItsAnswer) {
  for (const bool stream : {false, true}) {
    const int64_t cancelled = engine_->Statistics().cancelled;
    httplib::Client impatient("127.0.0.1", server_->port());
    httplib::Request request;
    request.method = "POST";
    request.path = kChat;
    request.body = DumpJson(Endless({{"n", 8}, {"stream", stream}}));
    request.set_header("Content-Type", "application/json");
    request.content_receiver = [](const char*, size_t, uint64_t, uint64_t) { return false; };  // enough
    impatient.set_read_timeout(120);
    std::thread asking([&] { EXPECT_FALSE(impatient.send(request)); });
    // A stream is given up at its first bytes, the other answer once the engine writes it.
    const auto gone = [&] { return engine_->Statistics().cancelled > cancelled; };
    EXPECT_TRUE(WaitUntil([&] { return engine_->Statistics().running > 0 || gone(); }));
    impatient.stop();
    asking.join();
    EXPECT_TRUE(WaitUntil(gone)) << "stream " << stream;
    EXPECT_TRUE(WaitUntil([&] { return engine_->Statistics().running == 0; }));
  }
  // Neither the server's fault nor a refusal. (The stream's status is 200 if it had begun.)
  const auto metrics = [&] { return client_->Get("/metrics")->body; };
  EXPECT_TRUE(WaitUntil([&] { return metrics().find("status=\"499\"}") != std::string::npos; })) << metrics();
  EXPECT_THAT(metrics(), testing::Not(HasSubstr("status=\"503\"")));
  EXPECT_THAT(metrics(), testing::Not(HasSubstr("fedglm_refusals_total{")));
  server_->Stop();  // nothing is left that it would wait for
}

TEST_F(BrokenOffTest, AClientThatGoesAwayInItsRequestIsNotRefused) {
  const std::string body = DumpJson(Question());
  const auto half = [&](size_t, size_t, httplib::DataSink& sink) {
    sink.write(body.data(), body.size() / 2);
    return false;
  };
  EXPECT_FALSE(client_->Post(kChat, body.size(), half, "application/json"));
  const auto metrics = [&] { return client_->Get("/metrics")->body; };
  EXPECT_TRUE(WaitUntil([&] { return metrics().find("status=\"499\"}") != std::string::npos; })) << metrics();
  EXPECT_THAT(metrics(), testing::Not(HasSubstr("fedglm_refusals_total{")));
}

TEST_F(BrokenOffTest, StoppingLetsAnAnswerFinish) {
  Serve({.stop_seconds = 120});
  std::thread asking([&] {
    const auto answer = Post(kChat, Endless({{"max_tokens", 200}}));
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 200);
  });
  EXPECT_TRUE(
      WaitUntil([&] { return engine_->Statistics().running > 0 || engine_->Statistics().generated_tokens > 0; }));
  const Stopwatch waited;
  server_->Stop();
  EXPECT_LT(waited.Seconds(), 60);  // of the 120 that it may take
  asking.join();
  EXPECT_FALSE(client_->Get("/health"));
}

TEST_F(BrokenOffTest, StoppingGivesUpAnAnswerThatTakesTooLong) {
  Serve({.stop_seconds = 0.05});
  std::thread asking([&] {
    const auto answer = Post(kChat, Endless({{"n", 8}}));
    EXPECT_TRUE(!answer || answer->status == 503);  // never half of it
  });
  EXPECT_TRUE(WaitUntil([&] { return engine_->Statistics().running > 0; }));
  server_->Stop();
  asking.join();
  EXPECT_TRUE(WaitUntil([&] { return engine_->Statistics().running == 0; }));
  EXPECT_GT(engine_->Statistics().cancelled, 0);
}

}  // namespace
}  // namespace fedglm
