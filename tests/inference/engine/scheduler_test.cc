// Requests that are computed together: each must get the answer it would get alone, whatever the others do.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <map>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include "base/file.h"
#include "inference/engine/engine.h"
#include "inference/model/bound_adapter.h"
#include "tests/inference/engine/all_logits.h"
#include "tests/support/golden.h"
#include "tests/support/tiny_model.h"
#include "tests/support/wait_until.h"

namespace fedglm {
namespace {

// Opens when told to.
class Gate {
 public:
  void Open() {
    std::lock_guard<std::mutex> lock(mutex_);
    open_ = true;
    opened_.notify_all();
  }
  void Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    opened_.wait(lock, [&] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable opened_;
  bool open_ = false;
};

// Keeps the engine's thread in its first step until the end is open.
struct Held : TokenConstraint {
  Gate begun, end;
  void Mask(std::span<float>) override {
    begun.Open();
    end.Wait();
  }
  void Accept(Token) override {}
};

std::vector<Token> RandomTokens(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<Token> tokens;
  for (int64_t i = 0; i < count; ++i) tokens.push_back(static_cast<Token>(random() % TinyModel::kVocabulary));
  return tokens;
}

GenerationRequest Request(std::vector<Token> prompt, int64_t max_tokens) {
  GenerationRequest request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  request.ignore_end = true;
  return request;
}

class SchedulerTest : public testing::Test {
 protected:
  SchedulerTest() : folder_(std::move(*TemporaryDirectory::Make())) {
    TinyModel("glm4").Write(folder_.path() / "model.gguf");
  }

  std::unique_ptr<Engine> Open(EngineOptions options = {}) {
    options.require_tokenizer = false;
    options.threads = 2;
    options.plan_weights = false;  // nor watch what other programs leave
    if (options.context == 0) options.context = 4096;
    return *Engine::Open(folder_.path() / "model.gguf", options);
  }

  static std::shared_ptr<const Adapter> RandomAdapter(const Engine& engine, uint64_t seed, int64_t rank = 4) {
    std::vector<ModuleShape> shapes;
    for (const LinearModule& m : LinearModules(engine.hyperparameters())) {
      shapes.push_back({m.peft_name, m.inputs, m.outputs});
    }
    auto adapter = std::make_shared<Adapter>(MakeSeededAdapter({.rank = rank}, shapes, seed));
    std::mt19937 random(static_cast<uint32_t>(seed));
    std::normal_distribution<float> normal(0, 0.3f);
    for (auto& [name, pair] : adapter->modules) {
      for (float& value : pair.b.values) value = normal(random);
    }
    return adapter;
  }

  // All at once, each from a thread of its own: the engine is held until the last one stands in the queue, since a fast
  // machine else has answered the first ones by then.
  static std::vector<GenerationResult> Together(Engine& engine, const std::vector<GenerationRequest>& requests) {
    std::vector<GenerationResult> results(requests.size());
    const auto held = std::make_shared<Held>();
    std::thread holder([&] {
      GenerationRequest request = Request({1}, 1);
      request.constraint = held;
      EXPECT_TRUE(engine.Generate(request, nullptr).ok());
    });
    held->begun.Wait();
    std::vector<std::thread> threads;
    for (size_t i = 0; i < requests.size(); ++i) {
      threads.emplace_back([&, i] {
        absl::StatusOr<GenerationResult> result = engine.Generate(requests[i], nullptr);
        EXPECT_TRUE(result.ok()) << Message(result.status());
        if (result.ok()) results[i] = *std::move(result);
      });
    }
    const auto all = static_cast<int64_t>(requests.size());
    Await(engine, [&](const EngineStatistics& s) { return s.waiting == all; });
    held->end.Open();
    holder.join();
    for (std::thread& thread : threads) thread.join();
    return results;
  }

  // Waits until the statistics say so: what an answer's end gives back, it gives back before the next step.
  template <typename Predicate>
  static EngineStatistics Await(Engine& engine, const Predicate& predicate) {
    EngineStatistics statistics;
    EXPECT_TRUE(WaitUntil([&] { return predicate(statistics = engine.Statistics()); })) << "did not come about";
    return statistics;
  }
  static uint64_t ChargedToAdapters(const EngineStatistics& statistics) {
    for (const auto& [account, bytes] : statistics.memory) {
      if (account == "adapters") return bytes;
    }
    ADD_FAILURE() << "no account of adapters";
    return 0;
  }
  static EngineStatistics AwaitQuiet(Engine& engine) {
    return Await(engine, [](const EngineStatistics& s) {
      return s.running == 0 && s.waiting == 0 && s.cache_pages == s.cache_pages_free;
    });
  }

  TemporaryDirectory folder_;
};

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
  engine->RemoveAdapter("a");
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

TEST_F(SchedulerTest, AdaptersAreChargedWithRoomToReplaceTheLargest) {
  const auto engine = Open();
  const auto small = RandomAdapter(*engine, 1, 2), large = RandomAdapter(*engine, 2, 6);
  const uint64_t s = BoundAdapter::Bytes(*small), l = BoundAdapter::Bytes(*large);
  ASSERT_EQ(l, 3 * s);
  const auto charged = [&] { return ChargedToAdapters(engine->Statistics()); };
  EXPECT_EQ(charged(), 0u);
  ASSERT_TRUE(engine->SetAdapter(small).ok());
  EXPECT_EQ(charged(), 2 * s);
  ASSERT_TRUE(engine->SetAdapter(small).ok());
  EXPECT_EQ(charged(), 2 * s);
  ASSERT_TRUE(engine->AddAdapter("a", large).ok());
  EXPECT_EQ(charged(), s + 2 * l);
  ASSERT_TRUE(engine->AddAdapter("a", small).ok());
  EXPECT_EQ(charged(), 3 * s);
  // What does not fit the base leaves nothing behind.
  auto wrong = std::make_shared<Adapter>(*small);
  wrong->modules["model.layers.7.mlp.down_proj"] = wrong->modules.begin()->second;
  EXPECT_EQ(ExitCodeOf(engine->AddAdapter("b", wrong)), ExitCode::kBadInputFile);
  EXPECT_EQ(charged(), 3 * s);
  ASSERT_TRUE(engine->SetAdapter(nullptr).ok());
  EXPECT_EQ(charged(), 2 * s);
  engine->RemoveAdapter("a");
  engine->RemoveAdapter("a");
  EXPECT_EQ(charged(), 0u);
}

TEST_F(SchedulerTest, ARetiredAdapterIsChargedUntilItsLastAnswerEnds) {
  const auto engine = Open();
  const auto adapter = RandomAdapter(*engine, 1);
  const uint64_t bytes = BoundAdapter::Bytes(*adapter);
  ASSERT_TRUE(engine->AddAdapter("a", adapter).ok());
  GenerationRequest request = Request(RandomTokens(20, 1), 100);
  request.adapter = "a";
  int calls = 0;
  const auto result = engine->Generate(request, [&](const GeneratedToken&) {
    if (++calls == 3) {
      EXPECT_TRUE(engine->AddAdapter("a", RandomAdapter(*engine, 2)).ok());
      EXPECT_TRUE(engine->AddAdapter("a", RandomAdapter(*engine, 3)).ok());
      // The answer's and the table's: the second was never used.
      EXPECT_EQ(ChargedToAdapters(engine->Statistics()), 2 * bytes);
      engine->RemoveAdapter("a");
      EXPECT_EQ(ChargedToAdapters(engine->Statistics()), bytes);
    }
    return true;
  });
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->tokens.size(), 100u);
  Await(*engine, [](const EngineStatistics& s) { return ChargedToAdapters(s) == 0; });
}

TEST_F(SchedulerTest, AnAdapterTakesIdlePagesAndIsRefusedWhereNothingIsLeft) {
  EngineOptions small;
  small.memory_budget = 64 << 10;
  const auto engine = Open(small);
  ASSERT_TRUE(engine->Generate(Request(RandomTokens(200, 1), 10), nullptr).ok());
  const EngineStatistics before = AwaitQuiet(*engine);
  ASSERT_EQ(before.cache_pages, 7);
  // 22.5 KiB, and as much again, beside 13 KiB of activations: there is room for a page or two.
  const auto adapter = RandomAdapter(*engine, 1, 8);
  const uint64_t bytes = BoundAdapter::Bytes(*adapter);
  ASSERT_EQ(bytes, 23040u);
  absl::Status status = engine->SetAdapter(adapter);
  ASSERT_TRUE(status.ok()) << Message(status);
  EXPECT_LT(engine->Statistics().cache_pages, before.cache_pages);
  const GenerationRequest request = Request(RandomTokens(10, 1), 15);
  const auto answer = engine->Generate(request, nullptr);
  ASSERT_TRUE(answer.ok()) << Message(answer.status());

  status = engine->AddAdapter("large", RandomAdapter(*engine, 2, 16));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(Message(status).find("adapters want "), std::string::npos) << Message(status);
  EXPECT_EQ(Message(status).find('\n'), std::string::npos);
  EXPECT_TRUE(engine->AdapterNames().empty());
  EXPECT_EQ(ChargedToAdapters(engine->Statistics()), 2 * bytes);

  // As tight as it is, the one that is in force can be replaced again and again while answers are written.
  int calls = 0;
  const auto swapped = engine->Generate(request, [&](const GeneratedToken&) {
    status = engine->SetAdapter(RandomAdapter(*engine, static_cast<uint64_t>(++calls), 8));
    EXPECT_TRUE(status.ok()) << Message(status);
    return true;
  });
  EXPECT_TRUE(swapped.ok());
  EXPECT_EQ(calls, 15);
  ASSERT_TRUE(engine->SetAdapter(adapter).ok());
  const auto again = engine->Generate(request, nullptr);
  ASSERT_TRUE(again.ok()) << Message(again.status());
  EXPECT_EQ(again->tokens, answer->tokens);
}

TEST_F(SchedulerTest, WhoGivesUpItsPagesGetsTheSameAnswerLater) {
  std::vector<GenerationRequest> requests;
  for (uint32_t i = 0; i < 4; ++i) requests.push_back(Request(RandomTokens(40, i), 120));
  EngineOptions small;
  small.memory_budget = 64 << 10;  // pages of 4 KiB: not enough for four times 160 positions
  const auto roomy = Open(), tight = Open(small);
  const std::vector<GenerationResult> results = Together(*tight, requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto expected = roomy->Generate(requests[i], nullptr);
    ASSERT_TRUE(expected.ok());
    EXPECT_EQ(results[i].tokens, expected->tokens) << i;
  }
  const EngineStatistics statistics = AwaitQuiet(*tight);
  EXPECT_GT(statistics.preemptions, 0);
  EXPECT_GT(statistics.recomputed_tokens, 0);
  EXPECT_GT(statistics.cache_evictions, 0);
  EXPECT_EQ(roomy->Statistics().recomputed_tokens, 0);
}

TEST_F(SchedulerTest, APrefixThatWasEvictedIsComputedAgain) {
  EngineOptions small;
  small.memory_budget = 64 << 10;
  const auto engine = Open(small);
  const GenerationRequest first = Request(RandomTokens(200, 1), 10), second = Request(RandomTokens(300, 2), 10);
  const auto before = engine->Generate(first, nullptr);
  ASSERT_TRUE(before.ok() && engine->Generate(second, nullptr).ok());
  const auto after = engine->Generate(first, nullptr);
  ASSERT_TRUE(after.ok());
  EXPECT_LT(after->cached_tokens, 199);
  EXPECT_EQ(after->tokens, before->tokens);
  EXPECT_GT(engine->Statistics().cache_evictions, 0);
}

TEST_F(SchedulerTest, IdlePagesDoNotMakeThePromptsChunksSmaller) {
  EngineOptions small;
  small.memory_budget = 512 << 10;
  const auto engine = Open(small);
  const auto steps_for = [&](uint32_t seed) {
    const int64_t before = engine->Statistics().steps;
    EXPECT_TRUE(engine->Generate(Request(RandomTokens(400, seed), 1), nullptr).ok());
    return engine->Statistics().steps - before;
  };
  const int64_t fresh = steps_for(0);
  for (uint32_t seed = 1; seed < 10; ++seed) steps_for(seed);  // pages take what is left
  engine->SetMemoryPressure(1);  // without work, the workspace goes
  Await(*engine, [](const EngineStatistics& s) {
    return std::ranges::all_of(s.memory, [](const auto& account) { return account.first != "activations" || account.second == 0; });
  });
  for (uint32_t seed = 10; seed < 20; ++seed) steps_for(seed);
  engine->SetMemoryPressure(0);
  EXPECT_LE(steps_for(20), fresh + 1);
}

TEST_F(SchedulerTest, WhatCanNeverFitIsRefusedAtOnceAndWhatOutgrowsTheMemoryEnds) {
  EngineOptions small;
  small.memory_budget = 64 << 10;
  const auto engine = Open(small);
  EXPECT_EQ(engine->Generate(Request(RandomTokens(3000, 1), 10), nullptr).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(engine->Statistics().refused_memory, 1);
  const auto result = engine->Generate(Request(RandomTokens(10, 1), 3000), nullptr);
  ASSERT_TRUE(result.ok()) << Message(result.status());
  EXPECT_EQ(result->reason, FinishReason::kLength);
  EXPECT_GT(result->tokens.size(), 200u);
  EXPECT_LT(result->tokens.size(), 600u);
  AwaitQuiet(*engine);
}

TEST_F(SchedulerTest, Q8PagesKeepTheAnswersProbabilities) {
  GOLDEN_OR_SKIP(model, "golden/glm4-tiny-f32.gguf");  // heads of 64: whole blocks
  EngineOptions quantized;
  quantized.quantized_cache = true;
  const auto half = *Engine::Open(model, {}), q8 = *Engine::Open(model, quantized);
  GenerationRequest request = Request(RandomTokens(100, 1), 1);
  request.logprobs = 20;
  const auto a = half->Generate(request, nullptr), b = q8->Generate(request, nullptr);
  ASSERT_TRUE(a.ok() && b.ok());
  std::map<Token, float> expected;
  for (const TokenLogprob& t : a->top[0]) expected[t.token] = t.logprob;
  int compared = 0;
  double difference = 0;
  for (const TokenLogprob& t : b->top[0]) {
    if (!expected.contains(t.token)) continue;
    difference += std::fabs(t.logprob - expected[t.token]);
    ++compared;
  }
  EXPECT_GE(compared, 15);
  EXPECT_LT(difference, 0.1 * compared);  // of logits that differ by whole units: the weights are random
  EXPECT_GT(difference, 0);
  EXPECT_LT(q8->Statistics().memory[2].second, half->Statistics().memory[2].second);
  EXPECT_EQ(q8->Statistics().memory[2].first, "KV pages");
}

TEST_F(SchedulerTest, CancellingGivesThePagesBack) {
  const auto engine = Open();
  int calls = 0;
  const auto result = engine->Generate(Request(RandomTokens(100, 1), 1000),
                                       [&](const GeneratedToken&) { return ++calls < 5; });
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

// The workspace was made when there was more room than the adapter leaves now. What runs keeps it as large as it is; alone,
// the prompt has room beside a smaller one.
TEST_F(SchedulerTest, APromptThatFitsOnlyAloneWaitsAndIsNotRefusedLate) {
  EngineOptions options;
  options.memory_budget = 256 << 10;
  const auto engine = Open(options), ample = Open();
  ASSERT_TRUE(engine->Generate(Request({1}, 1), nullptr).ok());
  ASSERT_TRUE(engine->AddAdapter("a", RandomAdapter(*engine, 1, 16)).ok());
  GenerationRequest first = Request({1}, 3);
  const auto held = std::make_shared<Held>();
  first.constraint = held;
  const absl::StatusOr<std::vector<PendingAnswer>> running = engine->Take({first});
  ASSERT_TRUE(running.ok());
  held->begun.Wait();
  int64_t length = 4000;
  const auto longest = [&] { return Request(RandomTokens(length, 1), 1); };
  absl::StatusOr<std::vector<PendingAnswer>> pending = engine->Take({longest()});
  while (!pending.ok() && length > 500) {
    length -= 10;
    pending = engine->Take({longest()});
  }
  ASSERT_TRUE(pending.ok()) << Message(pending.status());
  held->end.Open();
  const auto answer = pending->front().Wait(nullptr), expected = ample->Generate(longest(), nullptr);
  ASSERT_TRUE(answer.ok()) << Message(answer.status());
  EXPECT_EQ(answer->tokens, expected->tokens);
  std::printf("  the longest prompt that is taken: %d tokens\n", static_cast<int>(length));
  // The next one is read in chunks as large as if that had not been.
  const auto steps_of = [](Engine& e) {
    const int64_t before = e.Statistics().steps;
    EXPECT_TRUE(e.Generate(Request(RandomTokens(400, 2), 1), nullptr).ok());
    return e.Statistics().steps - before;
  };
  const auto fresh = Open(options);
  ASSERT_TRUE(fresh->AddAdapter("a", RandomAdapter(*fresh, 1, 16)).ok());
  EXPECT_LE(steps_of(*engine), steps_of(*fresh));
}

// What waits for memory of replaced adapters must not stand in the way of those that are to be computed with them.
TEST_F(SchedulerTest, WhoWaitsForReplacedAdaptersLetsTheirAnswersPass) {
  EngineOptions options;
  options.memory_budget = 160 << 10;
  options.max_running = 1;
  const auto engine = Open(options);
  const auto replace = [&](uint64_t seed) {
    const absl::Status status = engine->AddAdapter("a", RandomAdapter(*engine, seed, 8));
    EXPECT_TRUE(status.ok()) << Message(status);
  };
  replace(1);
  Gate gate;
  std::thread holder([&] {
    const auto held = [&](const GeneratedToken&) {
      gate.Wait();
      return true;
    };
    EXPECT_TRUE(engine->Generate(Request({1}, 60), held).ok());
  });
  Await(*engine, [](const EngineStatistics& s) { return s.running == 1; });
  int64_t length = 4000;
  const auto longest = [&] {
    GenerationRequest request = Request(RandomTokens(length, 1), 1);
    request.timeout_seconds = 60;
    return request;
  };
  absl::StatusOr<std::vector<PendingAnswer>> large = engine->Take({longest()});
  while (!large.ok() && length > 50) {
    length -= 10;
    large = engine->Take({longest()});
  }
  ASSERT_TRUE(large.ok()) << Message(large.status());
  std::vector<PendingAnswer> behind;
  for (const uint64_t seed : {2, 3}) {
    GenerationRequest request = Request({2}, 2);
    request.adapter = "a";
    absl::StatusOr<std::vector<PendingAnswer>> taken = engine->Take({request});
    ASSERT_TRUE(taken.ok());
    behind.push_back(std::move(taken->front()));
    replace(seed);
  }
  gate.Open();
  holder.join();
  const auto answer = large->front().Wait(nullptr);
  ASSERT_TRUE(answer.ok()) << Message(answer.status());
  EXPECT_EQ(answer->reason, FinishReason::kLength);
  EXPECT_EQ(answer->tokens.size(), 1u);
  for (PendingAnswer& one : behind) EXPECT_TRUE(one.Wait(nullptr).ok());
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
        EXPECT_TRUE(engine->Generate(Request(RandomTokens(4000, 2), 1), [&](const GeneratedToken&) {
          long_answer_at = engine->Statistics().steps;
          return true;
        }).ok());
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
    EXPECT_TRUE(engine->Generate(Request(RandomTokens(4000, 2), 1), [&](const GeneratedToken&) {
      long_answer_at = engine->Statistics().steps;
      return true;
    }).ok());
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

TEST_F(SchedulerTest, UnderPressureLessIsKeptThenNothingIsTaken) {
  const auto engine = Open();
  const GenerationRequest request = Request(RandomTokens(100, 1), 20);
  const auto expected = engine->Generate(request, nullptr);
  ASSERT_TRUE(expected.ok());
  EXPECT_GT(AwaitQuiet(*engine).cache_pages, 0);
  engine->SetMemoryPressure(2);
  Await(*engine, [](const EngineStatistics& s) { return s.cache_pages == 0; });
  EXPECT_TRUE(engine->Generate(request, nullptr).ok());
  EXPECT_EQ(Await(*engine, [](const EngineStatistics& s) { return s.cache_pages == 0; }).running, 0);
  engine->SetMemoryPressure(1);
  EXPECT_EQ(engine->Generate(request, nullptr)->tokens, expected->tokens);
  engine->SetMemoryPressure(4);
  EXPECT_EQ(engine->Generate(request, nullptr).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(engine->Statistics().refused_memory, 1);
  engine->SetMemoryPressure(0);
  EXPECT_EQ(engine->Generate(request, nullptr)->tokens, expected->tokens);
}

TEST_F(SchedulerTest, ManyThreadsWithCancellationsAdaptersAndLittleMemoryLeaveNothingBehind) {
  EngineOptions options;
  options.memory_budget = 208 << 10;  // 48 KiB are for adapters: three, and one of them again
  options.max_running = 4;
  options.max_waiting = 100;
  const auto engine = Open(options), reference = Open();
  for (Engine* e : {engine.get(), reference.get()}) {
    ASSERT_TRUE(e->AddAdapter("a", RandomAdapter(*e, 1)).ok());
    ASSERT_TRUE(e->AddAdapter("b", RandomAdapter(*e, 2)).ok());
  }
  std::atomic<int> checked{0};
  const auto work = [&](uint32_t seed) {
    std::mt19937 random(seed);
    for (int i = 0; i < 12; ++i) {
      // A common beginning, so that prefixes are shared, evicted and shared again.
      std::vector<Token> prompt = RandomTokens(40, random() % 3);
      const std::vector<Token> rest = RandomTokens(1 + random() % 120, random());
      prompt.insert(prompt.end(), rest.begin(), rest.end());
      GenerationRequest request = Request(std::move(prompt), 1 + random() % 60);
      request.adapter = std::vector<std::string>{"", "base", "a", "b"}[random() % 4];
      if (request.adapter.empty()) request.adapter = "base";
      const int stop_after = random() % 4 == 0 ? static_cast<int>(random() % 20) : 1000;
      int calls = 0;
      const auto result = engine->Generate(request, [&](const GeneratedToken&) { return ++calls <= stop_after; });
      ASSERT_TRUE(result.ok()) << Message(result.status());
      const auto expected = reference->Generate(request, nullptr);
      ASSERT_TRUE(expected.ok());
      ASSERT_LE(result->tokens.size(), expected->tokens.size());
      EXPECT_TRUE(std::equal(result->tokens.begin(), result->tokens.end(), expected->tokens.begin()));
      if (stop_after == 1000) {
        EXPECT_EQ(result->tokens.size(), expected->tokens.size());
      }
      ++checked;
    }
  };
  std::vector<std::thread> threads;
  for (uint32_t seed = 0; seed < 6; ++seed) threads.emplace_back(work, seed);
  std::atomic<bool> done{false};
  std::thread meddler([&] {
    for (int i = 0; !done; ++i) {
      engine->SetMemoryPressure(i % 2);  // fewer running, smaller chunks
      (void)engine->SetAdapter(i % 3 == 0 ? nullptr : RandomAdapter(*engine, 3));
      (void)engine->Embed({RandomTokens(20, static_cast<uint32_t>(i))});
      (void)engine->SequenceLoss(RandomTokens(30, 1), std::vector<bool>(30, true));
    }
  });
  for (std::thread& thread : threads) thread.join();
  done = true;
  meddler.join();
  EXPECT_EQ(checked, 72);
  const EngineStatistics statistics = AwaitQuiet(*engine);
  EXPECT_GT(statistics.cache_hit_tokens, 0);
  ASSERT_TRUE(engine->SetAdapter(nullptr).ok());
  for (const char* name : {"a", "b"}) engine->RemoveAdapter(name);
  engine->SetMemoryPressure(2);
  Await(*engine, [](const EngineStatistics& s) {
    uint64_t bytes = 0;
    for (const auto& [account, used] : s.memory) bytes += used;
    return s.cache_pages == 0 && bytes == 0;
  });
}

}  // namespace
}  // namespace fedglm
