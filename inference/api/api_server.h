// OpenAI's HTTP API over one engine: POST /v1/chat/completions (also streaming), GET /v1/models, GET /health.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "inference/engine/engine.h"

namespace fedglm {

struct ApiOptions {
  std::string host = "127.0.0.1";
  int port = 0;                // 0: a free one
  std::string model_name;      // empty: general.name of the model
  int max_waiting = 16;        // requests that wait or run; more get 503 with Retry-After
};

class ApiServer {
 public:
  // Serves from threads of its own until Stop(). `engine` must outlive it. Unreachable if the port is in use.
  static absl::StatusOr<std::unique_ptr<ApiServer>> Start(Engine& engine, const ApiOptions& options);
  ~ApiServer();  // stops

  int port() const;
  // Answers being written are broken off.
  void Stop();

 private:
  struct State;
  explicit ApiServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fedglm
