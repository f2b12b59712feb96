#include "inference/api/api_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "base/memory.h"

namespace fedglm {
namespace {

using prometheus::BuildCounter;
using prometheus::BuildHistogram;
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

const prometheus::Histogram::BucketBoundaries kRequestSeconds = {0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1,  2.5,
                                                                 5,     10,   20,   40,  80,   160, 320};
const prometheus::Histogram::BucketBoundaries kTokenSeconds = {0.002, 0.005, 0.01, 0.02, 0.04, 0.08,
                                                               0.15,  0.25,  0.5,  1,    2,    5};

MetricFamily Single(const char* name, const char* help, MetricType type, double value) {
  ClientMetric metric;
  (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  return {name, help, type, {metric}};
}

std::vector<MetricFamily> EngineFamilies(const EngineStatistics& s) {
  const auto counter = [](const char* name, const char* help, int64_t value) {
    return Single(name, help, MetricType::Counter, static_cast<double>(value));
  };
  const auto gauge = [](const char* name, const char* help, double value) {
    return Single(name, help, MetricType::Gauge, value);
  };
  std::vector<MetricFamily> families = {
      counter("fedglm_prompt_tokens_total", "Tokens of prompts", s.prompt_tokens),
      counter("fedglm_generated_tokens_total", "Tokens of answers", s.generated_tokens),
      counter("fedglm_cache_hit_tokens_total", "Prompt tokens that were not computed again", s.cache_hit_tokens),
      counter("fedglm_cache_evictions_total", "KV pages taken back", s.cache_evictions),
      counter("fedglm_recomputed_tokens_total", "Tokens computed again because their pages were taken back",
              s.recomputed_tokens),
      counter("fedglm_cancelled_total", "Answers broken off", s.cancelled),
      gauge("fedglm_running_requests", "Answers being computed", static_cast<double>(s.running)),
      gauge("fedglm_waiting_requests", "Requests waiting for a place", static_cast<double>(s.waiting)),
      gauge("fedglm_cache_pages", "Pages of the KV cache", static_cast<double>(s.cache_pages)),
      gauge("fedglm_cache_pages_free", "Pages of the KV cache that are free", static_cast<double>(s.cache_pages_free)),
      gauge("process_resident_memory_bytes", "Resident memory of this process", static_cast<double>(CurrentRssBytes())),
  };
  MetricFamily memory = {"fedglm_memory_bytes", "Bytes of the memory budget by account", MetricType::Gauge, {}};
  for (const auto& [account, bytes] : s.memory) {
    ClientMetric metric;
    metric.label = {{"account", account}};
    metric.gauge.value = static_cast<double>(bytes);
    memory.metric.push_back(std::move(metric));
  }
  families.push_back(std::move(memory));
  return families;
}

}  // namespace

struct ApiMetrics::State {
  explicit State(const Engine& e) : engine(e) {}

  const Engine& engine;
  prometheus::Registry registry;
  prometheus::Family<prometheus::Counter>& requests =
      BuildCounter().Name("fedglm_requests_total").Help("Requests answered").Register(registry);
  prometheus::Family<prometheus::Counter>& refusals =
      BuildCounter().Name("fedglm_refusals_total").Help("Requests refused, by reason").Register(registry);
  prometheus::Family<prometheus::Counter>& upstreams = BuildCounter()
                                                           .Name("fedglm_upstream_requests_total")
                                                           .Help("Requests handed to another server of the site")
                                                           .Register(registry);
  prometheus::Family<prometheus::Histogram>& seconds = BuildHistogram()
                                                           .Name("fedglm_request_seconds")
                                                           .Help("Seconds from a request to the end of its answer")
                                                           .Register(registry);
  prometheus::Histogram& queue = BuildHistogram()
                                     .Name("fedglm_queue_seconds")
                                     .Help("Seconds an answer waited for its turn")
                                     .Register(registry)
                                     .Add({}, kRequestSeconds);
  prometheus::Histogram& first_token = BuildHistogram()
                                           .Name("fedglm_first_token_seconds")
                                           .Help("Seconds from a request to its first token")
                                           .Register(registry)
                                           .Add({}, kRequestSeconds);
  prometheus::Histogram& token = BuildHistogram()
                                     .Name("fedglm_token_seconds")
                                     .Help("Seconds for each token after an answer's first, its mean")
                                     .Register(registry)
                                     .Add({}, kTokenSeconds);
};

ApiMetrics::ApiMetrics(const Engine& engine) : state_(std::make_unique<State>(engine)) {}
ApiMetrics::~ApiMetrics() = default;

void ApiMetrics::CountRequest(const std::string& route, int status, double seconds) {
  state_->requests.Add({{"route", route}, {"status", std::to_string(status)}}).Increment();
  state_->seconds.Add({{"route", route}}, kRequestSeconds).Observe(seconds);
}

void ApiMetrics::CountRefusal(const std::string& reason) { state_->refusals.Add({{"reason", reason}}).Increment(); }

void ApiMetrics::CountUpstream(const std::string& upstream, const std::string& outcome) {
  state_->upstreams.Add({{"upstream", upstream}, {"outcome", outcome}}).Increment();
}

void ApiMetrics::ObserveFirstToken(double seconds) { state_->first_token.Observe(seconds); }

void ApiMetrics::ObserveResult(const GenerationResult& result) {
  state_->queue.Observe(result.queue_seconds);
  if (result.tokens.size() > 1) {
    state_->token.Observe(result.decode_seconds / static_cast<double>(result.tokens.size() - 1));
  }
}

std::string ApiMetrics::Text() const {
  std::vector<MetricFamily> families = state_->registry.Collect();
  for (MetricFamily& family : EngineFamilies(state_->engine.Statistics())) families.push_back(std::move(family));
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace fedglm
