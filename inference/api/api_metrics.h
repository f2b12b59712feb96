// What the API measures, as Prometheus reads it (GET /metrics, text format 0.0.4).
//
//   fedglm_requests_total{route,status}               fedglm_refusals_total{reason}
//   fedglm_request_seconds{route}                     from the request's last byte to the answer's last, histogram
//   fedglm_queue_seconds, fedglm_first_token_seconds, fedglm_token_seconds     histograms
//   fedglm_upstream_requests_total{upstream,outcome}
// and from the engine
//   fedglm_prompt_tokens_total, fedglm_generated_tokens_total, fedglm_forward_passes_total, fedglm_cancelled_total,
//   fedglm_running_requests, fedglm_waiting_requests
//   fedglm_cache_hit_tokens_total, fedglm_cache_evictions_total, fedglm_recomputed_tokens_total,
//   fedglm_preemptions_total, fedglm_cache_pages, fedglm_cache_pages_free
//   fedglm_memory_bytes{account}, fedglm_memory_budget_bytes, process_resident_memory_bytes
// and, where weights are pinned and streamed by a plan,
//   fedglm_weight_layers{held}                        pinned, streamed
//   fedglm_pinned_weight_bytes, fedglm_locked_weight_bytes, fedglm_streamed_weight_bytes_total,
//   fedglm_stream_wait_seconds_total
//   fedglm_memory_pressure_level, fedglm_memory_pressure_steps_total{level,action}, fedglm_memory_left_ratio,
//   fedglm_memory_stall_ratio{of}                     group, machine
#pragma once

#include <memory>
#include <string>

#include "inference/engine/engine.h"

namespace fedglm {

// Thread-safe. `engine` must outlive it.
class ApiMetrics {
 public:
  explicit ApiMetrics(const Engine& engine);
  ~ApiMetrics();

  // `route` is one of the server's own, never a client's text: each is a time series of its own.
  void CountRequest(const std::string& route, int status, double seconds);
  // queue_full, memory, authentication, requests, tokens, parallel, stopping, invalid.
  void CountRefusal(const std::string& reason);
  void CountUpstream(const std::string& upstream, const std::string& outcome);
  // Of one answer: how long it waited for its turn, and from its arrival to its first token.
  void ObserveFirstToken(double seconds);
  void ObserveResult(const GenerationResult& result);

  std::string Text() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fedglm
