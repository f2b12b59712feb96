#include "inference/api/api_server.h"

#include <atomic>

#include "base/log.h"
#include "inference/api/api_context.h"
#include "inference/api/http_server.h"
#include "inference/api/routes.h"

namespace fedglm {
namespace {

constexpr const char* kHealth = "GET /health";
constexpr const char* kMetrics = "GET /metrics";
constexpr const char* kMetricsType = "text/plain; version=0.0.4; charset=utf-8";

ApiError WrongKey(bool given) {
  ApiError error;
  error.status = 401;
  error.type = "invalid_request_error";
  error.code = "invalid_api_key";
  error.message = given ? "this API key is not known here"
                        : "an API key is needed, as 'Authorization: Bearer KEY' (made with: fedglm api-key new)";
  return error;
}

ApiError Stopping() { return ToApiError(CancelledError("the server is stopping")); }

}  // namespace

struct ApiServer::State {
  State(Engine& e, const ApiOptions& options, std::unique_ptr<ApiKeyStore> k)
      : engine(e), metrics(e), limiter(Clock::System()), keys(std::move(k)), stop_seconds(options.stop_seconds) {}

  Engine& engine;
  ApiMetrics metrics;
  RateLimiter limiter;
  std::unique_ptr<ApiKeyStore> keys;  // nullptr: none is asked for
  const double stop_seconds;
  std::unique_ptr<UpstreamPool> upstreams;
  std::unique_ptr<ApiContext> context;
  std::atomic<bool> stopping{false};
  std::unique_ptr<HttpServer> http;  // last: its threads use the rest

  // Before the body is read: a stranger costs no memory.
  bool Admit(Exchange& exchange) {
    if (exchange.facts.route == kHealth) return true;
    if (stopping) {
      exchange.SendError(Stopping());
      return false;
    }
    if (keys == nullptr) return true;
    const std::string header = exchange.Header("Authorization");
    constexpr std::string_view kBearer = "Bearer ";
    const bool given = header.rfind(kBearer, 0) == 0;
    exchange.key = given ? keys->Find(std::string_view(header).substr(kBearer.size())) : nullptr;
    if (exchange.key == nullptr) {
      exchange.facts.refusal = "authentication";
      exchange.AddHeader("WWW-Authenticate", "Bearer");
      exchange.SendError(WrongKey(given));
      return false;
    }
    exchange.facts.key_name = exchange.key->name;
    const RateDecision decision = limiter.Enter(*exchange.key);
    SendRateDecision(decision, exchange);
    if (!decision.allowed) exchange.key = nullptr;  // it has no place to give back
    return decision.allowed;
  }

  void Done(Exchange& exchange) {
    const RequestFacts& facts = exchange.facts;
    if (exchange.key != nullptr) {
      limiter.CountAnswer(*exchange.key, facts.answer_tokens);
      limiter.Leave(*exchange.key);
    }
    metrics.CountRequest(facts.route, facts.status, facts.seconds);
    if (!facts.refusal.empty() && !facts.broken_off) metrics.CountRefusal(facts.refusal);
    if (facts.route == kHealth || facts.route == kMetrics) {
      LogDebug(AccessLine(facts));  // probes come every few seconds
    } else {
      LogInfo(AccessLine(facts));
    }
  }

  void Health(Exchange& exchange) const {
    if (stopping) return exchange.SendError(Stopping());
    exchange.SendJson({{"status", "ok"}});
  }

  void AddRoutes() {
    const auto route = [this](void (*answer)(ApiContext&, const std::shared_ptr<Exchange>&)) {
      return [this, answer](const std::shared_ptr<Exchange>& exchange) { answer(*context, exchange); };
    };
    http->Post("/v1/chat/completions", route(AnswerChat));
    http->Post("/v1/completions", route(AnswerCompletion));
    http->Post("/v1/embeddings", route(AnswerEmbeddings));
    http->Get("/v1/models", route(AnswerModels));
    http->Get("/v1/models/(.+)", route(AnswerModel));
    http->Post("/tokenize", route(AnswerTokenize));
    http->Post("/detokenize", route(AnswerDetokenize));
    http->Get("/health", [this](const std::shared_ptr<Exchange>& exchange) { Health(*exchange); });
    http->Get("/metrics",
              [this](const std::shared_ptr<Exchange>& exchange) { exchange->Send(200, kMetricsType, metrics.Text()); });
  }
};

ApiServer::ApiServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

absl::StatusOr<std::unique_ptr<ApiServer>> ApiServer::Start(Engine& engine, const ApiOptions& options) {
  FEDGLM_RETURN_IF_ERROR(CheckExposure(options));
  std::unique_ptr<ApiKeyStore> keys;
  if (!options.api_keys.empty()) {
    FEDGLM_ASSIGN_OR_RETURN(keys, ApiKeyStore::Open(options.api_keys, Clock::System()));
  }
  auto state = std::make_unique<State>(engine, options, std::move(keys));
  State& s = *state;
  FEDGLM_ASSIGN_OR_RETURN(s.upstreams, UpstreamPool::Make(options.upstreams, options.upstream_allow,
                                                          options.request_seconds, Clock::System(), s.metrics));
  s.context = std::make_unique<ApiContext>(
      ApiContext{engine, options, s.metrics, s.limiter, *s.upstreams, BuildTokenTrie(engine.tokenizer())});
  if (s.context->options.model_name.empty()) s.context->options.model_name = engine.hyperparameters().name;
  HttpServerOptions http;
  http.host = options.host;
  http.port = options.port;
  http.tls_certificate = options.tls_certificate;
  http.tls_key = options.tls_key;
  http.idle_seconds = options.idle_seconds;
  FEDGLM_ASSIGN_OR_RETURN(s.http, HttpServer::Listen(http, {[&s](Exchange& exchange) { return s.Admit(exchange); },
                                                            [&s](Exchange& exchange) { s.Done(exchange); }}));
  s.AddRoutes();
  s.http->Start();
  return std::unique_ptr<ApiServer>(new ApiServer(std::move(state)));
}

ApiServer::~ApiServer() { Stop(); }

int ApiServer::port() const { return state_->http->port(); }

void ApiServer::Stop() {
  state_->stopping = true;
  state_->http->Stop(state_->stop_seconds);
}

}  // namespace fedglm
