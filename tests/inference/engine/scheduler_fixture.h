// Engines whose batches tests hold, fill and watch.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <memory>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/thread_annotations.h"
#include "inference/engine/engine.h"
#include "tests/support/tiny_model.h"
#include "tests/support/wait_until.h"

namespace fedglm {

// Opens when told to.
class Gate {
 public:
  void Open() {
    MutexLock lock(mutex_);
    open_ = true;
    opened_.notify_all();
  }
  void Wait() {
    MutexLock lock(mutex_);
    while (!open_) lock.Wait(opened_);
  }

 private:
  Mutex mutex_;
  std::condition_variable opened_;
  bool open_ ABSL_GUARDED_BY(mutex_) = false;
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

inline GenerationRequest Request(std::vector<Token> prompt, int64_t max_tokens) {
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
  static uint64_t Charged(std::string_view account, const EngineStatistics& statistics) {
    for (const auto& [name, bytes] : statistics.memory) {
      if (name == account) return bytes;
    }
    ADD_FAILURE() << "no account '" << account << "'";
    return 0;
  }
  static EngineStatistics AwaitQuiet(Engine& engine) {
    return Await(engine, [](const EngineStatistics& s) {
      return s.running == 0 && s.waiting == 0 && s.cache_pages == s.cache_pages_free;
    });
  }

  TemporaryDirectory folder_;
};

}  // namespace fedglm
