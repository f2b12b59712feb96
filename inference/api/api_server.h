// OpenAI's HTTP API over one engine: chat and text completions (also streaming), embeddings, models; beside it
// /tokenize, /detokenize, /health and /metrics. What a field means is OpenAI's own documentation; what is not built is
// a 400 that says so. Every answer has an x-request-id, and every request one line in the log.
#pragma once

#include <memory>

#include "base/status.h"
#include "inference/api/api_options.h"
#include "inference/engine/engine.h"

namespace fedglm {

class ApiServer {
 public:
  // Serves from threads of its own until Stop(). `engine` must outlive it. Unreachable if the port is in use,
  // Configuration if the options may not be (see CheckExposure) or one of their files is bad.
  static absl::StatusOr<std::unique_ptr<ApiServer>> Start(Engine& engine, const ApiOptions& options);
  ~ApiServer();  // stops

  int port() const;
  // Refuses new requests, lets answers finish for options.stop_seconds, breaks off the rest.
  void Stop();

 private:
  struct State;
  explicit ApiServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fedglm
