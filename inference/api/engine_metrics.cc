#include "inference/api/engine_metrics.h"

#include <prometheus/text_serializer.h>

#include "base/memory.h"
#include "inference/memory/memory_pressure.h"

namespace fedglm {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

class Families {
 public:
  template <typename Number>
  void Counter(const char* name, const char* help, Number value) {
    Begin(name, help, MetricType::Counter);
    Add({}, value);
  }
  template <typename Number>
  void Gauge(const char* name, const char* help, Number value) {
    Begin(name, help, MetricType::Gauge);
    Add({}, value);
  }
  // A family whose metrics have labels: Add comes once for each.
  void Begin(const char* name, const char* help, MetricType type) { families_.push_back({name, help, type, {}}); }
  template <typename Number>
  void Add(std::vector<ClientMetric::Label> labels, Number value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    const bool counts = families_.back().type == MetricType::Counter;
    (counts ? metric.counter.value : metric.gauge.value) = static_cast<double>(value);
    families_.back().metric.push_back(std::move(metric));
  }
  std::string Text() const { return prometheus::TextSerializer().Serialize(families_); }

 private:
  std::vector<MetricFamily> families_;
};

void AddWork(const EngineStatistics& s, Families& families) {
  families.Counter("fedglm_prompt_tokens_total", "Tokens of prompts", s.prompt_tokens);
  families.Counter("fedglm_generated_tokens_total", "Tokens of answers", s.generated_tokens);
  families.Counter("fedglm_forward_passes_total", "Passes through the model", s.steps);
  families.Counter("fedglm_cancelled_total", "Answers broken off", s.cancelled);
  families.Gauge("fedglm_running_requests", "Answers being computed", s.running);
  families.Gauge("fedglm_waiting_requests", "Requests waiting for a place", s.waiting);
}

void AddCache(const EngineStatistics& s, Families& families) {
  families.Counter("fedglm_cache_hit_tokens_total", "Prompt tokens that were not computed again", s.cache_hit_tokens);
  families.Counter("fedglm_cache_evictions_total", "KV pages taken back", s.cache_evictions);
  families.Counter("fedglm_recomputed_tokens_total", "Tokens computed again because their pages were taken back",
                   s.recomputed_tokens);
  families.Counter("fedglm_preemptions_total", "Answers that had to wait again for KV pages", s.preemptions);
  families.Gauge("fedglm_cache_pages", "Pages of the KV cache", s.cache_pages);
  families.Gauge("fedglm_cache_pages_free", "Pages of the KV cache that are free", s.cache_pages_free);
}

void AddWeights(const StreamerStatistics& s, Families& families) {
  families.Begin("fedglm_weight_layers", "Layers by how their weights are held", MetricType::Gauge);
  families.Add({{"held", "pinned"}}, s.pinned);
  families.Add({{"held", "streamed"}}, s.streamed);
  families.Gauge("fedglm_pinned_weight_bytes", "Weights that stay in memory", s.pinned_bytes);
  families.Gauge("fedglm_locked_weight_bytes", "Of the pinned weights, those that are locked in memory",
                 s.locked_bytes);
  families.Counter("fedglm_streamed_weight_bytes_total", "Weights read from the disk for a pass", s.streamed_bytes);
  families.Counter("fedglm_stream_wait_seconds_total", "Seconds that passes waited for the disk", s.wait_seconds);
}

void AddPressure(const MonitorStatistics& s, Families& families) {
  families.Gauge("fedglm_memory_pressure_level", "Level of the ladder, 0 (none) to 4 (new work is refused)", s.level);
  families.Begin("fedglm_memory_pressure_steps_total", "How often each level of the ladder was come to",
                 MetricType::Counter);
  for (int level = 0; level < kPressureLevels; ++level) {
    families.Add({{"level", std::to_string(level)}, {"action", std::string(PressureAction(level))}},
                 s.entered[static_cast<size_t>(level)]);
  }
  families.Gauge("fedglm_memory_left_ratio", "The part of the memory limit that is left, of group or machine",
                 MemoryLeft(s.last));
  families.Begin("fedglm_memory_stall_ratio", "The part of the last 10 seconds that tasks waited for memory (PSI)",
                 MetricType::Gauge);
  families.Add({{"of", "group"}}, s.last.group_stall / 100);
  families.Add({{"of", "machine"}}, s.last.machine_stall / 100);
}

}  // namespace

std::string EngineMetricsText(const EngineStatistics& s) {
  Families families;
  AddWork(s, families);
  AddCache(s, families);
  families.Begin("fedglm_memory_bytes", "Bytes of the memory budget by account", MetricType::Gauge);
  for (const auto& [account, bytes] : s.memory) families.Add({{"account", account}}, bytes);
  families.Gauge("fedglm_memory_budget_bytes", "The memory budget", s.memory_budget);
  families.Gauge("process_resident_memory_bytes", "Resident memory of this process", CurrentRssBytes());
  if (s.weights) AddWeights(*s.weights, families);
  if (s.pressure) AddPressure(*s.pressure, families);
  return families.Text();
}

}  // namespace fedglm
