#include "inference/api/api_server.h"

#include <httplib.h>

#include <atomic>
#include <thread>

#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "inference/api/chat_completion.h"

namespace fedglm {
namespace {

constexpr size_t kMaxBodyBytes = 8 << 20;
constexpr int kConnectionThreads = 32;
constexpr const char* kJson = "application/json";

void SendError(httplib::Response& response, int status, const std::string& message, const char* type) {
  response.status = status;
  if (status == 503) response.set_header("Retry-After", "1");
  const Json body = {{"error", {{"message", message}, {"type", type}, {"param", nullptr}, {"code", nullptr}}}};
  response.set_content(DumpJson(body), kJson);
}

void SendStatus(httplib::Response& response, const absl::Status& status) {
  switch (ExitCodeOf(status)) {
    case ExitCode::kUsage:
    case ExitCode::kBadInputFile:  // a body that is not JSON
      return SendError(response, 400, Message(status), "invalid_request_error");
    default:
      const bool busy = status.code() == absl::StatusCode::kResourceExhausted;
      return SendError(response, busy ? 503 : 500, Message(status), busy ? "overloaded_error" : "server_error");
  }
}

// Counts one request for as long as it lives.
class Place {
 public:
  explicit Place(std::atomic<int>& taken) : taken_(taken), count_(++taken) {}
  ~Place() { --taken_; }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  int count() const { return count_; }

 private:
  std::atomic<int>& taken_;
  const int count_;
};

}  // namespace

struct ApiServer::State {
  State(Engine& e, const ApiOptions& o) : engine(e), options(o) {}

  Engine& engine;
  ApiOptions options;
  int port = 0;
  httplib::Server server;
  std::thread thread;
  std::atomic<int> taken{0};
  std::atomic<bool> stopping{false};

  absl::StatusOr<GenerationRequest> Prepare(const ChatCompletionRequest& request) const {
    FEDGLM_ASSIGN_OR_RETURN(const std::vector<ChatPart> parts,
                            RenderChat(engine.chat_template(), engine.tokenizer(), request.messages, true));
    GenerationRequest generation;
    generation.prompt = JoinParts(parts);
    const int64_t room = engine.context() - static_cast<int64_t>(generation.prompt.size());
    if (room < 1) {
      return UsageError("the messages are " + std::to_string(generation.prompt.size()) + " tokens; the context is " +
                        std::to_string(engine.context()));
    }
    generation.max_tokens = request.max_tokens > 0 ? std::min(request.max_tokens, room) : room;
    generation.sampling = request.sampling;
    generation.stop = request.stop;
    return generation;
  }

  void ChatCompletion(const httplib::Request& http, httplib::Response& response) {
    auto place = std::make_shared<Place>(taken);
    if (place->count() > options.max_waiting) return SendError(response, 503, "too many requests are waiting", "overloaded_error");
    const absl::StatusOr<ChatCompletionRequest> request = ParseChatCompletionRequest(http.body);
    if (!request.ok()) return SendStatus(response, request.status());
    absl::StatusOr<GenerationRequest> generation = Prepare(*request);
    if (!generation.ok()) return SendStatus(response, generation.status());
    const CompletionIdentity identity = {
        "chatcmpl-" + Base64UrlEncode(SecureRandomBytes(18)), options.model_name,
        UnixMilliseconds(Clock::System().Now()) / 1000};
    if (request->stream) {
      response.set_header("Cache-Control", "no-store");
      response.set_chunked_content_provider(
          "text/event-stream", [this, place, identity, usage = request->stream_usage,
                                generation = *std::move(generation)](size_t, httplib::DataSink& sink) {
            return Stream(generation, identity, usage, sink);
          });
      return;
    }
    const absl::StatusOr<GenerationResult> result =
        engine.Generate(*generation, [this](std::string_view, Token) { return !stopping; });
    if (!result.ok()) return SendStatus(response, result.status());
    response.set_content(DumpJson(ChatCompletionJson(identity, *result)), kJson);
  }

  bool Stream(const GenerationRequest& generation, const CompletionIdentity& identity, bool usage,
              httplib::DataSink& sink) {
    const auto send = [&](const std::string& event) {
      return !stopping && sink.is_writable() && sink.write(event.data(), event.size());
    };
    if (!send(ChunkEvent(identity, {{"role", "assistant"}, {"content", ""}}, nullptr))) return false;
    const absl::StatusOr<GenerationResult> result = engine.Generate(generation, [&](std::string_view piece, Token) {
      if (piece.empty()) return !stopping && sink.is_writable();
      return send(ChunkEvent(identity, {{"content", std::string(piece)}}, nullptr));
    });
    if (!result.ok()) {
      send("data: " + DumpJson({{"error", {{"message", Message(result.status())}, {"type", "server_error"}}}}) + "\n\n");
    } else if (result->reason == FinishReason::kCancelled) {
      return false;
    } else {
      send(ChunkEvent(identity, Json::object(), std::string(FinishReasonName(result->reason))));
      if (usage) send(UsageEvent(identity, *result));
    }
    send("data: [DONE]\n\n");
    sink.done();
    return true;
  }

  void Models(httplib::Response& response) const {
    const Json model = {{"id", options.model_name}, {"object", "model"}, {"created", 0}, {"owned_by", "fedglm"}};
    response.set_content(DumpJson(Json{{"object", "list"}, {"data", Json::array({model})}}), kJson);
  }

  void AddRoutes() {
    server.new_task_queue = [] { return new httplib::ThreadPool(kConnectionThreads); };
    server.set_payload_max_length(kMaxBodyBytes);
    server.set_keep_alive_timeout(5);
    server.set_exception_handler([](const httplib::Request&, httplib::Response& response, std::exception_ptr) {
      SendError(response, 500, "internal error", "server_error");
    });
    server.set_error_handler([](const httplib::Request&, httplib::Response& response) {
      if (!response.body.empty()) return;
      const int status = response.status;
      SendError(response, status, status == 404 ? "no such path" : status == 413 ? "the request is too large" : "bad request",
                "invalid_request_error");
    });
    server.Get("/health", [](const httplib::Request&, httplib::Response& response) {
      response.set_content("{\"status\":\"ok\"}", kJson);
    });
    server.Get("/v1/models", [this](const httplib::Request&, httplib::Response& response) { Models(response); });
    server.Post("/v1/chat/completions", [this](const httplib::Request& request, httplib::Response& response) {
      ChatCompletion(request, response);
    });
  }
};

ApiServer::ApiServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

absl::StatusOr<std::unique_ptr<ApiServer>> ApiServer::Start(Engine& engine, const ApiOptions& options) {
  auto state = std::make_unique<State>(engine, options);
  if (state->options.model_name.empty()) state->options.model_name = engine.hyperparameters().name;
  state->AddRoutes();
  // Not SO_REUSEPORT, which httplib sets: two servers would share a port in silence.
  state->server.set_socket_options([](socket_t socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
  if (options.port == 0) {
    state->port = state->server.bind_to_any_port(options.host.c_str());
  } else if (state->server.bind_to_port(options.host.c_str(), options.port)) {
    state->port = options.port;
  }
  if (state->port <= 0) {
    return UnreachableError("cannot listen on " + options.host + ":" + std::to_string(options.port) + " (in use?)");
  }
  state->thread = std::thread([s = state.get()] { s->server.listen_after_bind(); });
  while (!state->server.is_running()) std::this_thread::yield();  // stop() before that would be lost
  return std::unique_ptr<ApiServer>(new ApiServer(std::move(state)));
}

ApiServer::~ApiServer() { Stop(); }

int ApiServer::port() const { return state_->port; }

void ApiServer::Stop() {
  state_->stopping = true;
  state_->server.stop();
  if (state_->thread.joinable()) state_->thread.join();
}

}  // namespace fedglm
