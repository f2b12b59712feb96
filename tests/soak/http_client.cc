#include "tests/soak/http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <optional>
#include <utility>

namespace fedglm::soak {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::string_view kLineEnd = "\r\n";
constexpr std::string_view kHeadEnd = "\r\n\r\n";

// Takes an answer apart while it comes.
class AnswerReader {
 public:
  // False: this is no HTTP answer.
  bool Push(std::string_view bytes) {
    pending_ += bytes;
    if (!in_body_ && !ReadHead()) return false;
    return !in_body_ || ReadBody();
  }
  bool whole() const { return whole_; }
  const std::string& body() const { return answer_.body; }
  HttpAnswer Take() { return std::move(answer_); }

 private:
  bool ReadHead() {
    const size_t end = pending_.find(kHeadEnd);
    if (end == std::string::npos) return pending_.size() < 64 * 1024;
    const std::string head = pending_.substr(0, end + kLineEnd.size());
    pending_.erase(0, end + kHeadEnd.size());
    if (head.rfind("HTTP/1.1 ", 0) != 0 || head.size() < 14) return false;
    if (std::from_chars(head.data() + 9, head.data() + 12, answer_.status).ec != std::errc()) return false;
    size_t next, at = head.find(kLineEnd) + kLineEnd.size();
    for (; (next = head.find(kLineEnd, at)) != std::string::npos; at = next + kLineEnd.size()) {
      const size_t colon = head.find(':', at);
      if (colon == std::string::npos || colon > next) return false;
      std::string name = head.substr(at, colon - at);
      std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
      const size_t value = head.find_first_not_of(' ', colon + 1);
      answer_.headers[name] = head.substr(value, next - value);
    }
    in_body_ = true;
    return true;
  }

  bool ReadBody() {
    if (const auto length = answer_.headers.find("content-length"); length != answer_.headers.end()) {
      answer_.body += std::exchange(pending_, {});
      const size_t expected = std::strtoull(length->second.c_str(), nullptr, 10);
      whole_ = answer_.body.size() == expected;
      return answer_.body.size() <= expected;
    }
    const auto coding = answer_.headers.find("transfer-encoding");
    return coding != answer_.headers.end() && coding->second == "chunked" && ReadChunks();
  }

  bool ReadChunks() {
    size_t line;
    while ((line = pending_.find(kLineEnd)) != std::string::npos) {
      size_t size = 0;
      const auto [end, error] = std::from_chars(pending_.data(), pending_.data() + line, size, 16);
      if (error != std::errc() || end != pending_.data() + line) return false;
      const size_t begin = line + kLineEnd.size();
      if (pending_.size() < begin + size + kLineEnd.size()) return true;  // the rest is still to come
      answer_.body.append(pending_, begin, size);
      pending_.erase(0, begin + size + kLineEnd.size());
      whole_ = size == 0;
    }
    return true;
  }

  HttpAnswer answer_;
  std::string pending_;
  bool in_body_ = false, whole_ = false;
};

}  // namespace

absl::StatusOr<HttpConnection> HttpConnection::Open(int port, int receive_buffer) {
  const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return ErrnoError("socket", errno);
  HttpConnection connection(descriptor);
  const int yes = 1;
  setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
  if (receive_buffer > 0) setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return ErrnoError("cannot connect", errno);
  }
  return connection;
}

HttpConnection::HttpConnection(HttpConnection&& other) noexcept { *this = std::move(other); }

HttpConnection& HttpConnection::operator=(HttpConnection&& other) noexcept {
  std::swap(socket_, other.socket_);
  usable_ = other.usable_;
  sent_ = other.sent_;
  return *this;
}

HttpConnection::~HttpConnection() {
  if (socket_ >= 0) close(socket_);
}

absl::Status HttpConnection::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) {
      usable_ = false;
      return ErrnoError("sending a request", errno);
    }
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  sent_ = SteadyClock::now();
  return absl::OkStatus();
}

absl::StatusOr<HttpAnswer> HttpConnection::Receive(std::chrono::milliseconds limit,
                                                   const std::function<bool(const std::string& body)>& on_bytes) {
  usable_ = false;  // until the answer is whole
  const auto deadline = SteadyClock::now() + limit;
  AnswerReader reader;
  std::optional<double> first_byte;
  char buffer[16 * 1024];
  while (!reader.whole()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - SteadyClock::now());
    if (left.count() <= 0) return absl::DeadlineExceededError("the answer does not end");
    pollfd readable = {socket_, POLLIN, 0};
    if (poll(&readable, 1, static_cast<int>(left.count())) <= 0) continue;
    const ssize_t count = recv(socket_, buffer, sizeof(buffer), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoError("reading an answer", errno);
    if (count == 0) return FailedError("the connection ends before the answer");
    if (!first_byte) first_byte = std::chrono::duration<double>(SteadyClock::now() - sent_).count();
    if (!reader.Push({buffer, static_cast<size_t>(count)})) return FailedError("the answer is no HTTP");
    if (on_bytes && !on_bytes(reader.body())) return CancelledError("left");
  }
  HttpAnswer answer = reader.Take();
  answer.first_byte_seconds = *first_byte;
  const auto closes = answer.headers.find("connection");
  usable_ = closes == answer.headers.end() || closes->second != "close";
  return answer;
}

}  // namespace fedglm::soak
