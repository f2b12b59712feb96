// The memory of requests that are computed together: what it is charged to, who gives way, who waits, who is refused.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>

#include "inference/model/bound_adapter.h"
#include "inference/model/workspace.h"
#include "tests/inference/engine/scheduler_fixture.h"
#include "tests/support/golden.h"

namespace fedglm {
namespace {

// The longest prompt of at most 4000 tokens that is taken, down to `least`. It does not wait for ever.
absl::StatusOr<std::vector<PendingAnswer>> TakeLongest(Engine& engine, int64_t least) {
  absl::StatusOr<std::vector<PendingAnswer>> taken;
  for (int64_t length = 4000; !taken.ok() && length >= least; length -= 10) {
    GenerationRequest request = Request(RandomTokens(length, 1), 1);
    request.timeout_seconds = 60;
    taken = engine.Take({request});
  }
  return taken;
}

// Passes that a prompt of 400 tokens takes.
int64_t StepsOfAPrompt(Engine& engine, uint32_t seed) {
  const int64_t before = engine.Statistics().steps;
  EXPECT_TRUE(engine.Generate(Request(RandomTokens(400, seed), 1), nullptr).ok());
  return engine.Statistics().steps - before;
}

TEST_F(SchedulerTest, TheWorkspaceHasLogitsOfAsManyAnswersAsCanRun) {
  EngineOptions options;
  options.max_running = 3;
  options.prefill_chunk = 50;
  const auto engine = Open(options);
  ASSERT_TRUE(engine->Generate(Request({1, 2, 3}, 2), nullptr).ok());
  EXPECT_EQ(Charged("activations", engine->Statistics()), Workspace::Bytes(engine->hyperparameters(), 53, 3));
}

TEST_F(SchedulerTest, AdaptersAreChargedWithRoomToReplaceTheLargest) {
  const auto engine = Open();
  const auto small = RandomAdapter(*engine, 1, 2), large = RandomAdapter(*engine, 2, 6);
  const uint64_t s = BoundAdapter::Bytes(*small), l = BoundAdapter::Bytes(*large);
  ASSERT_EQ(l, 3 * s);
  const auto charged = [&] { return Charged("adapters", engine->Statistics()); };
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
  ASSERT_TRUE(engine->AddAdapter("a", nullptr).ok());
  ASSERT_TRUE(engine->AddAdapter("a", nullptr).ok());
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
      EXPECT_EQ(Charged("adapters", engine->Statistics()), 2 * bytes);
      EXPECT_TRUE(engine->AddAdapter("a", nullptr).ok());
      EXPECT_EQ(Charged("adapters", engine->Statistics()), bytes);
    }
    return true;
  });
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->tokens.size(), 100u);
  Await(*engine, [](const EngineStatistics& s) { return Charged("adapters", s) == 0; });
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
  EXPECT_EQ(Charged("adapters", engine->Statistics()), 2 * bytes);

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
  const auto steps_for = [&](uint32_t seed) { return StepsOfAPrompt(*engine, seed); };
  const int64_t fresh = steps_for(0);
  for (uint32_t seed = 1; seed < 10; ++seed) steps_for(seed);  // pages take what is left
  engine->SetMemoryPressure(1);                                // without work, the workspace goes
  Await(*engine, [](const EngineStatistics& s) { return Charged("activations", s) == 0; });
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

// The workspace was made when there was more room than the adapter leaves now. What runs keeps it as large as it is;
// alone, the prompt has room beside a smaller one.
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
  absl::StatusOr<std::vector<PendingAnswer>> pending = TakeLongest(*engine, 500);
  ASSERT_TRUE(pending.ok()) << Message(pending.status());
  const GenerationRequest longest = pending->front().request();
  held->end.Open();
  const auto answer = pending->front().Wait(nullptr), expected = ample->Generate(longest, nullptr);
  ASSERT_TRUE(answer.ok()) << Message(answer.status());
  EXPECT_EQ(answer->tokens, expected->tokens);
  std::printf("  the longest prompt that is taken: %d tokens\n", static_cast<int>(longest.prompt.size()));
  // The next one is read in chunks as large as if that had not been.
  const auto fresh = Open(options);
  ASSERT_TRUE(fresh->AddAdapter("a", RandomAdapter(*fresh, 1, 16)).ok());
  EXPECT_LE(StepsOfAPrompt(*engine, 2), StepsOfAPrompt(*fresh, 2));
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
  absl::StatusOr<std::vector<PendingAnswer>> large = TakeLongest(*engine, 50);
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
  for (const char* name : {"a", "b"}) ASSERT_TRUE(engine->AddAdapter(name, nullptr).ok());
  engine->SetMemoryPressure(2);
  Await(*engine, [](const EngineStatistics& s) {
    uint64_t bytes = 0;
    for (const auto& [account, used] : s.memory) bytes += used;
    return s.cache_pages == 0 && bytes == 0;
  });
}

}  // namespace
}  // namespace fedglm
