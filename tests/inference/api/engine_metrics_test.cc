// What of the engine's counts /metrics shows, and that an engine with a memory plan counts it.
#include "inference/api/engine_metrics.h"

#include <gmock/gmock.h>

#include "inference/engine/engine.h"
#include "tests/support/golden.h"

namespace fedglm {
namespace {

using testing::HasSubstr, testing::Not;

TEST(EngineMetrics, ShowTheWeightsAndTheLadder) {
  EngineStatistics statistics;
  statistics.preemptions = 3;
  statistics.memory = {{"pinned weights", 700}, {"streamed weights", 300}};
  statistics.memory_budget = 4096;
  statistics.weights = StreamerStatistics{.pinned = 5,
                                          .streamed = 2,
                                          .pinned_bytes = 512,
                                          .locked_bytes = 256,
                                          .streamed_bytes = 8192,
                                          .wait_seconds = 1.5};
  statistics.pressure = MonitorStatistics{.level = 2, .entered = {4, 3, 2, 1, 0}};
  statistics.pressure->last = {.group_limit = 1000, .group_used = 750, .machine_stall = 5, .group_stall = 10};
  const std::string text = EngineMetricsText(statistics);
  for (const char* line :
       {"fedglm_preemptions_total 3\n", "fedglm_memory_bytes{account=\"pinned weights\"} 700\n",
        "fedglm_memory_bytes{account=\"streamed weights\"} 300\n", "fedglm_memory_budget_bytes 4096\n",
        "fedglm_weight_layers{held=\"pinned\"} 5\n", "fedglm_weight_layers{held=\"streamed\"} 2\n",
        "fedglm_pinned_weight_bytes 512\n", "fedglm_locked_weight_bytes 256\n",
        "# TYPE fedglm_streamed_weight_bytes_total counter\nfedglm_streamed_weight_bytes_total 8192\n",
        "fedglm_stream_wait_seconds_total 1.5\n", "fedglm_memory_pressure_level 2\n",
        "# TYPE fedglm_memory_pressure_steps_total counter\n",
        "fedglm_memory_pressure_steps_total{level=\"1\",action=\"smaller batches\"} 3\n",
        "fedglm_memory_pressure_steps_total{level=\"4\",action=\"refusing new work\"} 0\n",
        "fedglm_memory_left_ratio 0.25\n", "fedglm_memory_stall_ratio{of=\"group\"} 0.1\n",
        "fedglm_memory_stall_ratio{of=\"machine\"} 0.05\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(EngineMetrics, SayNothingOfWeightsThatNobodyPlans) {
  const std::string text = EngineMetricsText({});
  EXPECT_THAT(text, Not(HasSubstr("fedglm_weight_layers")));
  EXPECT_THAT(text, Not(HasSubstr("fedglm_memory_pressure")));
}

TEST(EngineMetrics, AnEngineWithAPlanCountsWhatItHolds) {
  GOLDEN_OR_SKIP(path, "golden/glm4-tiny-q4_k_m.gguf");
  EngineOptions options;
  options.threads = 1;
  const auto engine = Engine::Open(path, options);
  ASSERT_TRUE(engine.ok()) << Message(engine.status());
  const EngineStatistics statistics = (*engine)->Statistics();
  ASSERT_TRUE(statistics.weights.has_value());
  EXPECT_EQ(statistics.weights->pinned, (*engine)->hyperparameters().layers + 1);
  EXPECT_EQ(statistics.weights->streamed, 0);
  EXPECT_GT(statistics.weights->pinned_bytes, 0u);
  EXPECT_TRUE(statistics.pressure.has_value());
  EXPECT_GT(statistics.memory_budget, statistics.weights->pinned_bytes);
}

}  // namespace
}  // namespace fedglm
