// HTTP/1.1 over a plain socket, for a load whose clients cost little and can do what no library's client would: stop in
// the middle of a request, read slowly, leave during an answer. Times the first byte of each answer.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/status.h"

namespace fedglm::soak {

struct HttpAnswer {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // without the chunks' framing
  double first_byte_seconds = 0;               // from the request's last byte written to the answer's first one
};

// One thread's. Closed when destroyed.
class HttpConnection {
 public:
  // Failed if nobody listens on 127.0.0.1:port. `receive_buffer` of the socket in bytes; 0: the kernel's own choice.
  static absl::StatusOr<HttpConnection> Open(int port, int receive_buffer = 0);
  HttpConnection(HttpConnection&& other) noexcept;
  HttpConnection& operator=(HttpConnection&& other) noexcept;
  ~HttpConnection();

  // All of it. Failed if the server has closed the connection.
  absl::Status Send(std::string_view bytes);

  // Reads one answer. `on_bytes`, if any, is asked after each read with the body so far; false leaves: the status is
  // then Cancelled, and the connection of no more use. DeadlineExceeded if the answer is not whole after `limit`;
  // Failed if the connection ends before the answer does, or what comes is no HTTP.
  absl::StatusOr<HttpAnswer> Receive(std::chrono::milliseconds limit,
                                     const std::function<bool(const std::string& body)>& on_bytes = nullptr);

  // The server says that it closes after this answer, or something went wrong.
  bool usable() const { return usable_; }

 private:
  explicit HttpConnection(int socket) : socket_(socket) {}

  int socket_ = -1;
  bool usable_ = true;
  std::chrono::steady_clock::time_point sent_;  // the last byte of the last request
};

}  // namespace fedglm::soak
