#include "inference/api/http_server.h"

#include <httplib.h>
#include <openssl/ssl.h>

#include <atomic>
#include <charconv>
#include <thread>
#include <utility>

#include "base/json.h"
#include "base/log.h"
#include "base/warm_blocks.h"
#include "inference/api/answer_options.h"
#include "inference/api/body_memory.h"
#include "inference/api/connection.h"
#include "inference/api/connection_threads.h"

namespace fedglm {
namespace {

constexpr int kBacklog = 512;                // connections the kernel keeps while they are not accepted
constexpr size_t kMaxDrainBytes = 64 << 20;  // of a body too large: read and forgotten, so that its client hears why
constexpr size_t kRequestsPerConnection = 1000;
constexpr auto kStopPoll = std::chrono::milliseconds(5);

// The library's listen(2) asks for a backlog of 5, with which clients in a burst wait a second until they ask again.
template <typename Base>
class WideServer : public Base {
 public:
  using Base::Base;
  void WidenBacklog() { ::listen(this->svr_sock_, kBacklog); }
};

ApiError TooLarge() {
  ApiError error;
  error.status = 413;
  error.type = "invalid_request_error";
  error.code = "request_too_large";
  error.message = "the request is larger than " + std::to_string(kMaxBodyBytes) + " bytes";
  return error;
}

ApiError BadHttp(int status) {
  ApiError error;
  error.status = status;
  error.type = "invalid_request_error";
  error.message = status == 404   ? "no such path; there are /v1/chat/completions, /v1/completions, /v1/embeddings …"
                  : status == 413 ? TooLarge().message
                  : status >= 500 ? "internal error"
                                  : "this is not a request that the server can read";
  if (status >= 500) error.type = "server_error";
  if (status == 404) error.code = "unknown_url";
  return error;
}

class HttpExchange : public Exchange {
 public:
  HttpExchange(const httplib::Request& request, httplib::Response& response, const std::atomic<bool>& giving_up,
               BodyMemory& memory)
      : request_(request), response_(response), giving_up_(giving_up), body_memory_(memory) {
    facts.id = RequestId(request.get_header_value("x-request-id"));
    facts.peer = request.remote_addr;
    if (request.matches.size() > 1) parameter_ = request.matches[1].str();
    response.set_header("x-request-id", facts.id);
  }

  const std::string& body() const override { return body_; }
  const std::string& parameter() const override { return parameter_; }
  std::string Header(const std::string& name) const override { return request_.get_header_value(name); }
  void AddHeader(const std::string& name, const std::string& value) override { response_.set_header(name, value); }

  void Send(int status, std::string_view content_type, std::string body) override {
    facts.status = status;
    response_.status = status;
    response_.set_content(std::move(body), std::string(content_type));
  }

  void SendStream(int status, const std::string& content_type, std::function<bool(const SendBytes&)> produce) override {
    facts.status = status;
    response_.status = status;
    response_.set_header("Cache-Control", "no-store");
    content_type_ = content_type;
    produce_ = std::move(produce);
  }

  // After giving_up_ the connections are shut down from here.
  bool ClientHasGone() const override {
    if (giving_up_) return false;
    if (socket_ == kNotLookedFor) {
      socket_ = request_.ssl != nullptr ? SSL_get_fd(request_.ssl)
                                        : FindSocketOfPeer(request_.remote_addr, request_.remote_port);
    }
    return PeerHasGone(socket_);
  }

  bool Abandoned() const override { return giving_up_ || ClientHasGone(); }

  // False: it has sent why not. The body is then no longer on the connection, or the connection will be closed.
  bool ReadBody(const httplib::ContentReader& reader) {
    if (request_.is_multipart_form_data() || DeclaredLength() > kMaxBodyBytes) {
      SendError(request_.is_multipart_form_data() ? BadHttp(415) : TooLarge());
      Drain(reader);
      return false;
    }
    (void)ClientHasGone();  // finds the socket, which is not to be found any more when the client has reset it
    body_.reserve(DeclaredLength());  // not a new place, and fresh pages, each time that it has doubled
    bool fits = true, room = true;
    const bool read = reader([&](const char* bytes, size_t count) {
      if (!room) return true;                        // read and forgotten, so that its client hears why
      fits = body_.size() + count <= kMaxBodyBytes;  // also of what is compressed or comes in chunks
      if (!fits) return false;
      room = body_memory_.GrowTo(body_.size() + count);
      if (room) {
        body_.append(bytes, count);
      } else {
        ForgetBody();
      }
      return true;
    });
    if (read && room) return true;
    closes_ = !read;
    if (!read && fits && ClientHasGone()) {
      SendToNobody();
    } else if (!room) {
      SendStatus(absl::ResourceExhaustedError("too many large requests at once"));
    } else {
      SendError(fits ? BadHttp(400) : TooLarge());
    }
    return false;
  }

  // Reads a body that nobody wants, so that the next request on the connection is found behind it.
  void Drain(const httplib::ContentReader& reader) {
    size_t drained = 0;
    closes_ = request_.is_multipart_form_data() || DeclaredLength() > kMaxDrainBytes ||
              !reader([&](const char*, size_t count) { return (drained += count) <= kMaxDrainBytes; });
  }

  // Nothing asks for it after the route.
  void ForgetBody() {
    std::string().swap(body_);
    body_memory_.Release();
  }

  bool HasBody() const { return DeclaredLength() > 0 || request_.has_header("Transfer-Encoding"); }
  void CloseAfterwards() { closes_ = true; }

  // Whatever was to be sent until now.
  void FailAndClose() {
    closes_ = true;
    produce_ = nullptr;
    SendError(BadHttp(500));
  }

  // After the route has returned: gives the library what is to be written. `done` is called when the answer is known,
  // and for a stream when its last event is sent: a client that goes on at once must find its place free. `written` is
  // called when the library has let go of it. `self` is kept until then.
  void HandOver(const std::shared_ptr<HttpExchange>& self, std::function<void()> done, std::function<void()> written) {
    if (produce_) {
      done_ = std::move(done);
      response_.set_chunked_content_provider(
          content_type_,
          [self](size_t, httplib::DataSink& sink) {
            // It holds the exchange, and what it was computing ends with it.
            auto produce = std::exchange(self->produce_, nullptr);
            const bool whole =
                produce([&sink](std::string_view bytes) { return sink.write(bytes.data(), bytes.size()); });
            produce = nullptr;
            std::exchange(self->done_, nullptr)();
            if (whole) sink.done();
            return whole;
          },
          [self, written = std::move(written)](bool) {
            self->produce_ = nullptr;
            if (self->done_) self->done_();  // the client went away before the first byte
            written();
          });
      return;
    }
    done();
    if (closes_) response_.set_header("Connection", "close");
    if (response_.body.empty()) return written();  // of a provider of nothing the library asks for more, without end
    body_ = std::move(response_.body);
    response_.body.clear();
    const std::string type = response_.get_header_value("Content-Type");
    response_.headers.erase("Content-Type");
    response_.set_content_provider(
        body_.size(), type,
        [self](size_t at, size_t count, httplib::DataSink& sink) {
          const bool sent = sink.write(self->body_.data() + at, count);
          return sent && !self->closes_;  // a provider that fails makes the library close the connection
        },
        [self, written = std::move(written)](bool) { written(); });
  }

 private:
  uint64_t DeclaredLength() const {
    const std::string declared = request_.get_header_value("Content-Length");
    uint64_t length = 0;
    const auto [end, error] = std::from_chars(declared.data(), declared.data() + declared.size(), length);
    return error == std::errc::result_out_of_range ? UINT64_MAX : length;
  }

  static constexpr int kNotLookedFor = -2;
  const httplib::Request& request_;
  httplib::Response& response_;
  const std::atomic<bool>& giving_up_;
  mutable int socket_ = kNotLookedFor;
  std::string body_, parameter_, content_type_;
  BodyReservation body_memory_;
  std::function<bool(const SendBytes&)> produce_;
  std::function<void()> done_;  // of a stream, until it has been called
  bool closes_ = false;
};

bool LoadCertificate(SSL_CTX& context, const HttpServerOptions& options) {
  return SSL_CTX_set_min_proto_version(&context, TLS1_2_VERSION) == 1 &&
         SSL_CTX_use_certificate_chain_file(&context, options.tls_certificate.c_str()) == 1 &&
         SSL_CTX_use_PrivateKey_file(&context, options.tls_key.c_str(), SSL_FILETYPE_PEM) == 1 &&
         SSL_CTX_check_private_key(&context) == 1;
}

}  // namespace

struct HttpServer::State {
  State(const HttpServerOptions& o, Hooks h) : options(o), hooks(std::move(h)) {}

  const HttpServerOptions options;
  const Hooks hooks;
  std::unique_ptr<httplib::Server> server;
  std::function<void()> widen_backlog;
  int port = 0;
  std::thread thread;
  std::atomic<int> active{0};
  std::atomic<bool> giving_up{false};
  BodyMemory body_memory;

  absl::Status Make() {
    if (options.tls_certificate.empty()) {
      auto plain = std::make_unique<WideServer<httplib::Server>>();
      widen_backlog = [s = plain.get()] { s->WidenBacklog(); };
      server = std::move(plain);
      return absl::OkStatus();
    }
    auto secure = std::make_unique<WideServer<httplib::SSLServer>>(
        [this](SSL_CTX& context) { return LoadCertificate(context, options); });
    if (!secure->is_valid()) {
      return ConfigurationError("TLS: " + options.tls_certificate.string() + " and " + options.tls_key.string() +
                                " are no certificate chain and its private key (PEM)");
    }
    widen_backlog = [s = secure.get()] { s->WidenBacklog(); };
    server = std::move(secure);
    return absl::OkStatus();
  }

  void Configure() {
    server->new_task_queue = [this] { return new ConnectionThreads(static_cast<size_t>(options.max_connections)); };
    server->set_payload_max_length(kMaxDrainBytes);
    server->set_keep_alive_max_count(kRequestsPerConnection);
    server->set_keep_alive_timeout(options.idle_seconds);
    server->set_read_timeout(options.read_seconds);
    server->set_write_timeout(options.read_seconds);
    server->set_tcp_nodelay(true);
    // Not SO_REUSEPORT, which the library sets: two servers would share a port in silence.
    server->set_socket_options([](socket_t socket) {
      const int yes = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    });
    server->set_exception_handler(
        [](const httplib::Request&, httplib::Response& response, std::exception_ptr) { response.status = 500; });
    // What never became one of our exchanges: an unknown path, a broken request line, a header too long.
    server->set_error_handler([](const httplib::Request& request, httplib::Response& response) {
      if (!response.body.empty() || response.has_header("x-request-id")) return;
      RequestFacts facts;
      facts.id = RequestId(request.get_header_value("x-request-id"));
      facts.peer = request.remote_addr;
      facts.status = response.status;
      facts.refusal = "invalid";
      facts.route = request.method + " " + request.path;
      response.set_header("x-request-id", facts.id);
      response.set_content(DumpJson(ErrorJson(BadHttp(response.status))), "application/json");
      LogInfo(AccessLine(facts));
    });
  }

  // The library would keep the body of a request that nobody answers, of whatever size.
  void AddRefusals() {
    const auto refuse = [this](const httplib::Request& request, httplib::Response& response,
                               const httplib::ContentReader& reader) {
      auto exchange = std::make_shared<HttpExchange>(request, response, giving_up, body_memory);
      exchange->facts.route = "other";
      ++active;
      exchange->SendError(BadHttp(404));
      exchange->Drain(reader);
      Finish(exchange);
    };
    server->Post(".*", refuse);
    server->Put(".*", refuse);
    server->Patch(".*", refuse);
    server->Delete(".*", refuse);
    server->set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
      // HTTP/2's first words: the library takes them for a request with a body.
      if (request.method != "PRI") return httplib::Server::HandlerResponse::Unhandled;
      auto exchange = std::make_shared<HttpExchange>(request, response, giving_up, body_memory);
      exchange->facts.route = "other";
      ++active;
      exchange->SendError(BadHttp(400));
      exchange->CloseAfterwards();
      Finish(exchange);
      return httplib::Server::HandlerResponse::Handled;
    });
  }

  // `reader` is null for a request without a body.
  void Serve(const httplib::Request& request, httplib::Response& response, const httplib::ContentReader* reader,
             const std::string& route, const Handler& handler) {
    const WarmBlockScope warm;  // the body, and its JSON: also what is refused must be read
    auto exchange = std::make_shared<HttpExchange>(request, response, giving_up, body_memory);
    exchange->facts.route = route;
    ++active;
    try {
      if (!hooks.admit(*exchange)) {
        if (reader != nullptr) exchange->Drain(*reader);
      } else if (reader == nullptr || exchange->ReadBody(*reader)) {
        handler(exchange);
      }
      exchange->ForgetBody();
      if (reader == nullptr && exchange->HasBody()) exchange->CloseAfterwards();  // the library leaves it unread
    } catch (const std::exception& error) {                                       // out of memory
      LogError("request=" + exchange->facts.id + " failed: " + error.what());
      exchange->FailAndClose();
    }
    Finish(exchange);
  }

  void Finish(const std::shared_ptr<HttpExchange>& exchange) {
    const auto done = [this, e = exchange.get()] {
      e->facts.seconds = e->since_arrival().Seconds();
      hooks.done(*e);
    };
    exchange->HandOver(exchange, done, [this] { --active; });
  }
};

HttpServer::HttpServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

HttpServer::~HttpServer() { Stop(0); }

int HttpServer::port() const { return state_->port; }

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Listen(const HttpServerOptions& options, Hooks hooks) {
  auto state = std::make_unique<State>(options, std::move(hooks));
  FEDGLM_RETURN_IF_ERROR(state->Make());
  state->Configure();
  if (options.port == 0) {
    state->port = state->server->bind_to_any_port(options.host);
  } else if (state->server->bind_to_port(options.host, options.port)) {
    state->port = options.port;
  }
  if (state->port <= 0) {
    return UnreachableError("cannot listen on " + options.host + ":" + std::to_string(options.port) + " (in use?)");
  }
  state->widen_backlog();
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(state)));
}

void HttpServer::Get(const std::string& path, Handler handler) {
  state_->server->Get(path, [s = state_.get(), route = "GET " + path, handler = std::move(handler)](
                                const httplib::Request& request, httplib::Response& response) {
    s->Serve(request, response, nullptr, route, handler);
  });
}

void HttpServer::Post(const std::string& path, Handler handler) {
  state_->server->Post(
      path, [s = state_.get(), route = "POST " + path, handler = std::move(handler)](
                const httplib::Request& request, httplib::Response& response, const httplib::ContentReader& reader) {
        s->Serve(request, response, &reader, route, handler);
      });
}

void HttpServer::Start() {
  state_->AddRefusals();  // last: the first route that fits a path is taken
  state_->thread = std::thread([s = state_.get()] { s->server->listen_after_bind(); });
  while (!state_->server->is_running()) std::this_thread::yield();  // stop() before that would be lost
}

void HttpServer::Stop(double grace_seconds) {
  State& s = *state_;
  if (!s.thread.joinable()) return;
  const Stopwatch waited;
  while (s.active > 0 && waited.Seconds() < grace_seconds) std::this_thread::sleep_for(kStopPoll);
  s.giving_up = true;
  // Not before: a library that is stopped, or cannot read from a connection, writes no answer to it.
  s.server->stop();
  EndIdleConnections(s.port);
  s.thread.join();
}

}  // namespace fedglm
