// HTTP/1.1, with or without TLS, for the routes of the API: connections, bodies within their limit, streams, a stop
// that lets answers finish. The library below it (cpp-httplib) is hidden here.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "inference/api/exchange.h"

namespace fedglm {

struct HttpServerOptions {
  std::string host = "127.0.0.1";
  int port = 0;                                    // 0: a free one
  std::filesystem::path tls_certificate, tls_key;  // PEM; empty: no TLS
  int idle_seconds = 5;                            // a connection without a request is closed
  int read_seconds = 30;                           // a client that sends or takes nothing is given up
  int max_connections = 256;                       // served at once; more wait
};

class HttpServer {
 public:
  using Handler = std::function<void(const std::shared_ptr<Exchange>& exchange)>;
  struct Hooks {
    // Asked before a body is read. False: it has sent a refusal.
    std::function<bool(Exchange& exchange)> admit;
    // Once for each request, after its answer has been written or broken off. Not for what never became a request.
    std::function<void(Exchange& exchange)> done;
  };

  // Listens, and answers nothing yet. Unreachable if the port is in use, Configuration if the certificate or key is
  // bad.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Listen(const HttpServerOptions& options, Hooks hooks);
  ~HttpServer();  // Stop(0)

  // Before Start(). `path` is a regular expression; its group, if any, is the exchange's parameter.
  void Get(const std::string& path, Handler handler);
  void Post(const std::string& path, Handler handler);

  void Start();
  // Waits for answers that are being written, but not longer than that; then closes everything. Meanwhile new requests
  // still come to Hooks::admit, which should refuse them.
  void Stop(double grace_seconds);

  int port() const;

 private:
  struct State;
  explicit HttpServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fedglm
