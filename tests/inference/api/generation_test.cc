// Answers as a route reads them, without HTTP, whose buffers would take in what the reader leaves.
#include "inference/api/generation.h"

#include "tests/inference/api/server_fixture.h"
#include "tests/support/wait_until.h"

namespace fedglm {
namespace {

// A client that is there and to whom nothing is sent.
class SilentExchange : public Exchange {
 public:
  const std::string& body() const override { return nothing_; }
  const std::string& parameter() const override { return nothing_; }
  std::string Header(const std::string&) const override { return ""; }
  void AddHeader(const std::string&, const std::string&) override {}
  void Send(int, std::string_view, std::string) override { ADD_FAILURE() << "nothing is to be sent"; }
  void SendStream(int, const std::string&, std::function<bool(const SendBytes&)>) override {
    ADD_FAILURE() << "nothing is to be sent";
  }
  bool ClientHasGone() const override { return gone; }
  bool Abandoned() const override { return gone; }
  bool gone = false;

 private:
  const std::string nothing_;
};

class GenerationTest : public ServerFixture {
 protected:
  void SetUp() override {
    ServerFixture::SetUp();
    if (engine_ == nullptr) return;
    metrics_ = std::make_unique<ApiMetrics>(*engine_);
    upstreams_ = *UpstreamPool::Make({}, {}, 0, Clock::System(), *metrics_);
    context_ = std::make_unique<ApiContext>(ApiContext{*engine_, {}, *metrics_, limiter_, *upstreams_, nullptr});
  }

  // `choices` answers of `tokens` tokens each, none of which is without text.
  std::unique_ptr<Generation> Start(int choices, int64_t tokens) {
    const Token x = engine_->tokenizer().Encode("x", {.add_special = false}).at(0);
    std::vector<GenerationRequest> requests(static_cast<size_t>(choices));
    for (GenerationRequest& request : requests) {
      request.prompt = engine_->tokenizer().Encode("hi", {.add_special = true});
      request.max_tokens = tokens;
      request.sampling.logit_bias = {{x, 100.0f}};
    }
    auto generation = Generation::Start(*context_, exchange_, std::move(requests));
    EXPECT_TRUE(generation.ok()) << Message(generation.status());
    return *std::move(generation);
  }

  SilentExchange exchange_;
  std::unique_ptr<ApiMetrics> metrics_;
  RateLimiter limiter_{Clock::System()};
  std::unique_ptr<UpstreamPool> upstreams_;
  std::unique_ptr<ApiContext> context_;
};

TEST_F(GenerationTest, AReaderThatStopsHoldsABoundedNumberOfTokensOfEachChoice) {
  constexpr int kChoices = 4;
  constexpr int64_t kTokens = 200;
  const std::unique_ptr<Generation> stopped = Start(kChoices, kTokens);  // one token of one choice has been read
  // Every step computes each answer that has room: after another one's 200 steps these have had all that they get.
  const auto other = Start(1, kTokens)->Collect();
  ASSERT_TRUE(other.ok()) << Message(other.status());
  EXPECT_EQ(other->front().text, std::string(kTokens, 'x'));
  const auto on_the_way = static_cast<int64_t>(kChoices * AnswerChannel::kCapacity);
  EXPECT_EQ(engine_->Statistics().generated_tokens, on_the_way + 1 + kTokens);
  EXPECT_EQ(engine_->Statistics().running, kChoices);

  // Who reads on gets everything.
  std::vector<std::string> texts(kChoices);
  int ended = 0;
  while (true) {
    const auto event = stopped->Next();
    ASSERT_TRUE(event.ok()) << Message(event.status());
    if (!*event) break;
    texts[static_cast<size_t>((*event)->choice)] += (*event)->text;
    if ((*event)->end) ++ended;
  }
  EXPECT_EQ(texts, std::vector<std::string>(kChoices, std::string(kTokens, 'x')));
  EXPECT_EQ(ended, kChoices);
}

TEST_F(GenerationTest, WhoseClientHasGoneGivesUpEveryChoice) {
  const std::unique_ptr<Generation> generation = Start(3, 4000);
  exchange_.gone = true;
  ASSERT_TRUE(generation->Next().ok());  // what came before
  EXPECT_EQ(generation->Next().status().code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(exchange_.facts.broken_off);
  EXPECT_TRUE(WaitUntil([&] { return engine_->Statistics().running == 0; }));
  EXPECT_EQ(engine_->Statistics().cancelled, 3);
}

}  // namespace
}  // namespace fedglm
