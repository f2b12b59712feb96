// Requests that are computed together: each must get the answer it would get alone, whatever the others do.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>

#include "tests/inference/engine/all_logits.h"
#include "tests/inference/engine/scheduler_fixture.h"
#include "tests/support/golden.h"

namespace fedglm {
namespace {

std::vector<GenerationRequest> MixedRequests(int64_t count) {
  std::vector<GenerationRequest> requests;
  for (int64_t i = 0; i < count; ++i) {
    requests.push_back(Request(RandomTokens(5 + 37 * i % 150, static_cast<uint32_t>(i)), 10 + 13 * i % 40));
    if (i % 2 == 1) requests.back().sampling = {.temperature = 0.9, .top_k = 20, .seed = static_cast<uint64_t>(i)};
  }
  return requests;
}

TEST_F(SchedulerTest, EachOfABatchGetsItsOwnAnswerAlsoWithSeeds) {
  const std::vector<GenerationRequest> requests = MixedRequests(12);
  const auto alone = Open(), together = Open();
  const std::vector<GenerationResult> results = Together(*together, requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto expected = alone->Generate(requests[i], nullptr);
    ASSERT_TRUE(expected.ok());
    EXPECT_EQ(results[i].tokens, expected->tokens) << i;
    EXPECT_EQ(results[i].tokens.size(), static_cast<size_t>(requests[i].max_tokens));
    EXPECT_EQ(results[i].reason, FinishReason::kLength);
  }
  EXPECT_LT(together->Statistics().steps, alone->Statistics().steps);
  AwaitQuiet(*together);
}

TEST_F(SchedulerTest, APrefixIsComputedOnceAndNeverUsedWithAnotherAdapter) {
  const auto engine = Open();
  ASSERT_TRUE(engine->AddAdapter("a", RandomAdapter(*engine, 1)).ok());
  ASSERT_TRUE(engine->AddAdapter("b", RandomAdapter(*engine, 2)).ok());
  std::map<std::string, std::vector<Token>> first;
  for (const std::string adapter : {"", "base", "a", "b"}) {
    GenerationRequest request = Request(RandomTokens(100, 1), 20);
    request.adapter = adapter;
    const int64_t hits = engine->Statistics().cache_hit_tokens;
    const auto fresh = engine->Generate(request, nullptr);
    const auto again = engine->Generate(request, nullptr);
    ASSERT_TRUE(fresh.ok() && again.ok());
    // The default is the base alone: these two may share.
    EXPECT_EQ(fresh->cached_tokens, adapter == "base" ? 99 : 0) << adapter;
    EXPECT_EQ(again->cached_tokens, 99) << adapter;
    EXPECT_EQ(engine->Statistics().cache_hit_tokens - hits, fresh->cached_tokens + again->cached_tokens);
    EXPECT_EQ(again->tokens, fresh->tokens);
    first[adapter] = fresh->tokens;
  }
  EXPECT_EQ(first[""], first["base"]);
  EXPECT_NE(first["a"], first["base"]);
  EXPECT_NE(first["a"], first["b"]);
  // The same name, another adapter.
  ASSERT_TRUE(engine->AddAdapter("a", RandomAdapter(*engine, 2)).ok());
  GenerationRequest request = Request(RandomTokens(100, 1), 20);
  request.adapter = "a";
  const auto replaced = engine->Generate(request, nullptr);
  ASSERT_TRUE(replaced.ok());
  EXPECT_EQ(replaced->cached_tokens, 0);
  EXPECT_EQ(replaced->tokens, first["b"]);
  EXPECT_EQ(engine->AdapterNames(), (std::vector<std::string>{"a", "b"}));
  ASSERT_TRUE(engine->AddAdapter("a", nullptr).ok());
  EXPECT_EQ(ExitCodeOf(engine->Generate(request, nullptr).status()), ExitCode::kUsage);
}

TEST_F(SchedulerTest, AnAnswersTokensServeTheNextTurnOfAConversation) {
  const auto engine = Open();
  GenerationRequest request = Request(RandomTokens(20, 1), 30);
  const auto answer = engine->Generate(request, nullptr);
  ASSERT_TRUE(answer.ok());
  request.prompt.insert(request.prompt.end(), answer->tokens.begin(), answer->tokens.end());
  request.prompt.push_back(3);
  const auto next = engine->Generate(request, nullptr);
  ASSERT_TRUE(next.ok());
  EXPECT_EQ(next->cached_tokens, 49);  // the answer's last token was never computed
  const auto fresh = Open()->Generate(request, nullptr);
  ASSERT_TRUE(fresh.ok());
  EXPECT_EQ(next->tokens, fresh->tokens);
}

TEST_F(SchedulerTest, AnAdapterThatIsSwappedInMidAnswerLeavesNoSharedPages) {
  const auto engine = Open();
  const auto adapter = RandomAdapter(*engine, 5);
  const GenerationRequest request = Request(RandomTokens(40, 1), 200);
  int calls = 0;
  const auto mixed = engine->Generate(request, [&](const GeneratedToken&) {
    if (++calls == 3) {
      EXPECT_TRUE(engine->SetAdapter(adapter).ok());
    }
    return true;
  });
  ASSERT_TRUE(mixed.ok());
  const auto after = engine->Generate(request, nullptr);
  ASSERT_TRUE(after.ok());
  EXPECT_EQ(after->cached_tokens, 0);
  const auto fresh = Open();
  const auto base = fresh->Generate(request, nullptr);
  ASSERT_TRUE(fresh->SetAdapter(adapter).ok());
  const auto adapted = fresh->Generate(request, nullptr);
  ASSERT_TRUE(base.ok() && adapted.ok());
  EXPECT_EQ(after->tokens, adapted->tokens);
  EXPECT_EQ(std::vector(mixed->tokens.begin(), mixed->tokens.begin() + 3),
            std::vector(base->tokens.begin(), base->tokens.begin() + 3));
  EXPECT_NE(mixed->tokens, base->tokens);
}

TEST_F(SchedulerTest, CancellingGivesThePagesBack) {
  const auto engine = Open();
  int calls = 0;
  const auto result =
      engine->Generate(Request(RandomTokens(100, 1), 1000), [&](const GeneratedToken&) { return ++calls < 5; });
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->reason, FinishReason::kCancelled);
  EXPECT_EQ(result->tokens.size(), 5u);
  const EngineStatistics statistics = AwaitQuiet(*engine);
  EXPECT_EQ(statistics.cancelled, 1);
  EXPECT_LT(statistics.generated_tokens, 100);
}

TEST_F(SchedulerTest, ARequestIsCancelledWhileItWaitsOrItsPromptIsRead) {
  EngineOptions one;
  one.max_running = 1;
  const auto engine = Open(one);
  Gate gate;
  std::thread holder([&] {
    (void)engine->Generate(Request({1}, 100), [&](const GeneratedToken&) {
      gate.Wait();
      return true;
    });
  });
  Await(*engine, [](const EngineStatistics& s) { return s.running == 1; });
  GenerationRequest request = Request({2}, 10);
  request.timeout_seconds = 0.05;
  const auto late = engine->Generate(request, nullptr);
  ASSERT_TRUE(late.ok());
  EXPECT_EQ(late->reason, FinishReason::kCancelled);
  request.timeout_seconds = 0;
  request.still_wanted = [] { return false; };
  const auto unwanted = engine->Generate(request, nullptr);
  ASSERT_TRUE(unwanted.ok());
  EXPECT_EQ(unwanted->reason, FinishReason::kCancelled);
  EXPECT_TRUE(unwanted->tokens.empty());
  EXPECT_EQ(engine->Statistics().waiting, 0);
  gate.Open();
  holder.join();
  EXPECT_EQ(AwaitQuiet(*engine).cancelled, 2);
}

TEST_F(SchedulerTest, AFullQueueRefusesAtOnce) {
  EngineOptions options;
  options.max_running = 1;
  options.max_waiting = 1;
  const auto engine = Open(options);
  Gate gate;
  const auto hold = [&](const GeneratedToken&) {
    gate.Wait();
    return true;
  };
  std::thread running([&] { EXPECT_TRUE(engine->Generate(Request({1}, 100), hold).ok()); });
  Await(*engine, [](const EngineStatistics& s) { return s.running == 1; });
  std::thread waiting([&] { EXPECT_TRUE(engine->Generate(Request({2}, 3), nullptr).ok()); });
  Await(*engine, [](const EngineStatistics& s) { return s.waiting == 1; });
  EXPECT_EQ(engine->Generate(Request({3}, 3), nullptr).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(engine->Embed({{3}}).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(engine->Statistics().refused_queue_full, 2);
  gate.Open();
  running.join();
  waiting.join();
  EXPECT_TRUE(engine->Generate(Request({3}, 3), nullptr).ok());
}

TEST_F(SchedulerTest, SeveralRequestsAreTakenTogetherOrNotAtAll) {
  EngineOptions options;
  options.max_running = 1;
  options.max_waiting = 2;
  const auto engine = Open(options);
  const std::vector<GenerationRequest> two = {Request({2}, 3), Request({3}, 4)};
  const auto expected = Together(*engine, two);
  GenerationRequest first = Request({1}, 1);
  const auto held = std::make_shared<Held>();
  first.constraint = held;
  absl::StatusOr<std::vector<PendingAnswer>> running = engine->Take({first});
  ASSERT_TRUE(running.ok());
  held->begun.Wait();
  EXPECT_EQ(engine->Take({two[0], two[1], two[1]}).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(engine->Take({two[0], two[0], two[0], two[0]}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(engine->Take({two[0], Request({}, 1)}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(engine->Statistics().waiting, 0);
  EXPECT_EQ(engine->Statistics().refused_queue_full, 1);
  ASSERT_TRUE(engine->Take(two).ok());  // and given up
  EXPECT_EQ(engine->Statistics().waiting, 0);
  EXPECT_EQ(engine->Statistics().cancelled, 2);
  absl::StatusOr<std::vector<PendingAnswer>> answers = engine->Take(two);
  ASSERT_TRUE(answers.ok());
  EXPECT_EQ(engine->Statistics().waiting, 2);
  held->end.Open();
  for (size_t i = 0; i < two.size(); ++i) {
    const auto answer = (*answers)[i].Wait(nullptr);
    ASSERT_TRUE(answer.ok());
    EXPECT_EQ(answer->tokens, expected[i].tokens);
  }
  EXPECT_TRUE(running->front().Wait(nullptr).ok());
  // Who gives one up leaves its place to the next, also while it is kept.
  answers = engine->Take({Request({2}, 4000), two[1]});
  ASSERT_TRUE(answers.ok());
  const auto given_up = answers->front().Wait([](const GeneratedToken&) { return false; });
  ASSERT_TRUE(given_up.ok());
  EXPECT_EQ(given_up->reason, FinishReason::kCancelled);
  const auto next = answers->back().Wait(nullptr);
  ASSERT_TRUE(next.ok());
  EXPECT_EQ(next->tokens, expected[1].tokens);
  EXPECT_EQ(AwaitQuiet(*engine).cancelled, 3);
}

TEST_F(SchedulerTest, ASlowReaderStopsOnlyItsOwnAnswer) {
  const auto engine = Open();
  Gate gate;
  std::thread slow([&] {
    const auto result = engine->Generate(Request(RandomTokens(10, 1), 100), [&](const GeneratedToken&) {
      gate.Wait();
      return true;
    });
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result->tokens.size(), 100u);
  });
  Await(*engine, [](const EngineStatistics& s) { return s.generated_tokens >= 16; });
  const auto result = engine->Generate(Request(RandomTokens(10, 2), 200), nullptr);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->tokens.size(), 200u);
  EXPECT_LT(engine->Statistics().generated_tokens, 240);  // what may be on the way, and no more
  gate.Open();
  slow.join();
}

TEST_F(SchedulerTest, ALongPromptDoesNotStopAShortAnswer) {
  const auto engine = Open({.mixed_chunk = 32});
  std::thread reader;
  std::atomic<int64_t> long_answer_at{-1};
  int calls = 0;
  int64_t steps_before = 0;
  const auto result = engine->Generate(Request(RandomTokens(10, 1), 80), [&](const GeneratedToken&) {
    if (++calls == 5) {
      reader = std::thread([&] {
        EXPECT_TRUE(engine
                        ->Generate(Request(RandomTokens(4000, 2), 1),
                                   [&](const GeneratedToken&) {
                                     long_answer_at = engine->Statistics().steps;
                                     return true;
                                   })
                        .ok());
      });
      Await(*engine, [](const EngineStatistics& s) { return s.running == 2; });
      steps_before = engine->Statistics().steps;
    }
    return true;
  });
  ASSERT_TRUE(result.ok());
  const int64_t steps_after = engine->Statistics().steps;
  reader.join();
  EXPECT_EQ(result->tokens.size(), 80u);
  // 4000 prompt tokens in chunks of 32 are 125 steps; the short answer took one step a token meanwhile.
  EXPECT_LE(steps_after - steps_before, 80);
  EXPECT_GT(long_answer_at, steps_after);
}

TEST_F(SchedulerTest, AShortPromptNeedNotWaitForALongOne) {
  const auto engine = Open();
  std::atomic<int64_t> long_answer_at{-1};
  std::thread reader([&] {
    EXPECT_TRUE(engine
                    ->Generate(Request(RandomTokens(4000, 2), 1),
                               [&](const GeneratedToken&) {
                                 long_answer_at = engine->Statistics().steps;
                                 return true;
                               })
                    .ok());
  });
  Await(*engine, [](const EngineStatistics& s) { return s.running == 1; });
  int64_t short_answer_at = -1;
  const auto result = engine->Generate(Request(RandomTokens(20, 1), 1), [&](const GeneratedToken&) {
    short_answer_at = engine->Statistics().steps;
    return true;
  });
  reader.join();
  EXPECT_TRUE(result.ok());
  EXPECT_GT(short_answer_at, 0);
  EXPECT_GT(long_answer_at, short_answer_at);
}

TEST_F(SchedulerTest, EmbeddingsAreOfLengthOneAndDoNotDependOnTheBatch) {
  const auto engine = Open();
  ASSERT_TRUE(engine->AddAdapter("a", RandomAdapter(*engine, 1)).ok());
  const std::vector<Token> text = RandomTokens(300, 1);
  const auto alone = engine->Embed({text});
  ASSERT_TRUE(alone.ok()) << Message(alone.status());
  ASSERT_EQ(alone->front().size(), static_cast<size_t>(TinyModel::kHidden));
  double squares = 0;
  for (const float x : alone->front()) squares += static_cast<double>(x) * x;
  EXPECT_NEAR(squares, 1.0, 1e-5);
  std::thread other([&] { (void)engine->Generate(Request(RandomTokens(500, 2), 50), nullptr); });
  const auto beside = engine->Embed({text});
  other.join();
  ASSERT_TRUE(beside.ok());
  EXPECT_LT(NormalisedError(beside->front(), alone->front()), 1e-10);
  const auto adapted = engine->Embed({text}, "a");
  ASSERT_TRUE(adapted.ok());
  EXPECT_GT(NormalisedError(adapted->front(), alone->front()), 1e-4);
  EXPECT_EQ(ExitCodeOf(engine->Embed({text}, "nobody").status()), ExitCode::kUsage);
  EXPECT_EQ(ExitCodeOf(engine->Embed({{}}).status()), ExitCode::kUsage);
}

TEST_F(SchedulerTest, TextsThatWereAcceptedAreNotRefusedLater) {
  EngineOptions options;
  options.max_running = 1;
  const auto engine = Open(options);
  GenerationRequest first = Request({1}, 1);
  const auto held = std::make_shared<Held>();
  first.constraint = held;
  std::thread running([&] { EXPECT_TRUE(engine->Generate(first, nullptr).ok()); });
  held->begun.Wait();
  absl::StatusOr<std::vector<std::vector<float>>> embeddings, unwanted;
  std::thread embedding([&] { embeddings = engine->Embed({{3}, {4}, {5}}); });
  Await(*engine, [](const EngineStatistics& s) { return s.waiting == 1; });
  bool asked = false;
  unwanted = engine->Embed({{6}, {7}}, "", [&] { return !std::exchange(asked, true); });
  EXPECT_EQ(unwanted.status().code(), absl::StatusCode::kCancelled);
  engine->SetMemoryPressure(4);
  EXPECT_EQ(engine->Embed({{3}, {4}}).status().code(), absl::StatusCode::kResourceExhausted);
  held->end.Open();
  running.join();
  embedding.join();
  ASSERT_TRUE(embeddings.ok()) << Message(embeddings.status());
  EXPECT_EQ(embeddings->size(), 3u);
}

TEST_F(SchedulerTest, LogprobsAreTheModelsOwn) {
  const auto engine = Open();
  GenerationRequest request = Request(RandomTokens(50, 1), 6);
  request.logprobs = 5;
  request.sampling = {.temperature = 1.5, .seed = 3};
  std::vector<float> heard;
  const auto result = engine->Generate(request, [&](const GeneratedToken& token) {
    EXPECT_EQ(token.top.size(), 5u);
    heard.push_back(token.logprob);
    return true;
  });
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->logprobs, heard);
  std::vector<Token> sequence = request.prompt;
  sequence.insert(sequence.end(), result->tokens.begin(), result->tokens.end());
  const std::vector<float> logits = AllLogits(*engine, sequence);
  ASSERT_EQ(logits.size(), sequence.size() * static_cast<size_t>(TinyModel::kVocabulary));
  for (size_t i = 0; i < result->tokens.size(); ++i) {
    const float* const row = logits.data() + (request.prompt.size() + i - 1) * TinyModel::kVocabulary;
    double sum = 0;
    for (int64_t v = 0; v < TinyModel::kVocabulary; ++v) sum += std::exp(static_cast<double>(row[v]));
    EXPECT_NEAR(result->logprobs[i], row[result->tokens[i]] - std::log(sum), 2e-3);
    const std::vector<TokenLogprob>& top = result->top[i];
    EXPECT_NEAR(row[top[0].token], *std::max_element(row, row + TinyModel::kVocabulary), 4e-3);
    for (size_t k = 0; k < top.size(); ++k) {
      EXPECT_NEAR(top[k].logprob, row[top[k].token] - std::log(sum), 2e-3);
      EXPECT_GE(top[k > 0 ? k - 1 : 0].logprob, top[k].logprob);
    }
  }
  request.logprobs = 21;
  EXPECT_EQ(ExitCodeOf(engine->Generate(request, nullptr).status()), ExitCode::kUsage);
}

// Allows each token of a list in turn.
class InTurn : public TokenConstraint {
 public:
  explicit InTurn(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}
  void Mask(std::span<float> logits) override {
    for (size_t i = 0; i < logits.size(); ++i) {
      if (static_cast<Token>(i) != tokens_[next_]) logits[i] = -INFINITY;
    }
  }
  void Accept(Token token) override { EXPECT_EQ(token, tokens_[next_++]); }
  size_t next_ = 0;

 private:
  std::vector<Token> tokens_;
};

TEST_F(SchedulerTest, AConstraintDecidesWhatComesAndNotHowLikelyItWas) {
  const auto engine = Open();
  GenerationRequest request = Request(RandomTokens(20, 1), 4);
  const auto constraint = std::make_shared<InTurn>(std::vector<Token>{7, 3, 39, 0});
  request.constraint = constraint;
  request.logprobs = 0;
  const auto result = engine->Generate(request, nullptr);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->tokens, (std::vector<Token>{7, 3, 39, 0}));
  EXPECT_EQ(constraint->next_, 4u);
  for (const float logprob : result->logprobs) EXPECT_LT(logprob, -0.1f) << "that of the only token allowed";
}

}  // namespace
}  // namespace fedglm
