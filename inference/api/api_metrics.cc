#include "inference/api/api_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "inference/api/engine_metrics.h"

namespace fedglm {
namespace {

using prometheus::BuildCounter;
using prometheus::BuildHistogram;

const prometheus::Histogram::BucketBoundaries kRequestSeconds = {0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1,  2.5,
                                                                 5,     10,   20,   40,  80,   160, 320};
const prometheus::Histogram::BucketBoundaries kTokenSeconds = {0.002, 0.005, 0.01, 0.02, 0.04, 0.08,
                                                               0.15,  0.25,  0.5,  1,    2,    5};

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
  return prometheus::TextSerializer().Serialize(state_->registry.Collect()) +
         EngineMetricsText(state_->engine.Statistics());
}

}  // namespace fedglm
