// A user-space TCP forwarder on loopback: a mapped port, or a proxy that is asked with HTTP's CONNECT.
#pragma once

#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <list>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/listen_address.h"
#include "base/thread_annotations.h"
#include "tests/support/loopback_listener.h"

namespace fedglm {

class Forwarder {
 public:
  // To this address. Empty: to whatever a client's CONNECT names, of which "aggregator.test" is known to the proxy
  // alone: this machine.
  explicit Forwarder(std::string target) : target_(std::move(target)), accepting_([this] { Accept(); }) {}
  ~Forwarder() {
    shutdown(listener_.socket(), SHUT_RDWR);
    accepting_.join();
    std::list<std::thread> threads;
    {
      MutexLock lock(mutex_);
      for (const int socket : sockets_) shutdown(socket, SHUT_RDWR);
      threads = std::exchange(threads_, {});
    }
    for (std::thread& thread : threads) thread.join();
    MutexLock lock(mutex_);
    for (const int socket : sockets_) close(socket);
  }
  std::string port() const { return listener_.port(); }
  std::string address() const { return listener_.host_and_port(); }
  // What CONNECT lines have named, and how many connections there were.
  std::vector<std::string> Asked() const {
    MutexLock lock(mutex_);
    return asked_;
  }
  size_t Connections() const {
    MutexLock lock(mutex_);
    return threads_.size();
  }

 private:
  void Accept() {
    while (true) {
      const int client = accept4(listener_.socket(), nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0) return;
      MutexLock lock(mutex_);
      sockets_.push_back(client);
      threads_.emplace_back([this, client] { Serve(client); });
    }
  }

  // Up to the empty line; the address of CONNECT.
  static std::string ReadRequest(int client) {
    std::string request;
    char c = 0;
    while (request.size() < 4096 && request.find("\r\n\r\n") == std::string::npos && read(client, &c, 1) == 1)
      request += c;
    if (request.rfind("CONNECT ", 0) != 0) return "";
    return request.substr(8, request.find(' ', 8) - 8);
  }

  int Connect(const std::string& to) {
    absl::StatusOr<ListenAddress> address = ParseListenAddress(to);
    if (!address.ok()) return -1;
    if (address->host == "aggregator.test") address->host = "127.0.0.1";
    addrinfo hints = {};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (getaddrinfo(address->host.c_str(), std::to_string(address->port).c_str(), &hints, &found) != 0) return -1;
    const int server = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool connected = connect(server, found->ai_addr, found->ai_addrlen) == 0;
    freeaddrinfo(found);
    if (!connected) {
      close(server);
      return -1;
    }
    MutexLock lock(mutex_);
    sockets_.push_back(server);
    return server;
  }

  void Serve(int client) {
    std::string to = target_;
    if (to.empty()) {
      to = ReadRequest(client);
      MutexLock lock(mutex_);
      asked_.push_back(to);
    }
    const int server = Connect(to);
    if (target_.empty()) {
      const std::string answer = server < 0 ? "HTTP/1.1 502 Bad Gateway\r\n\r\n" : "HTTP/1.1 200 OK\r\n\r\n";
      if (write(client, answer.data(), answer.size()) < 0) return;
    }
    std::array<pollfd, 2> ends = {pollfd{client, POLLIN, 0}, pollfd{server, POLLIN, 0}};
    std::array<char, 65536> bytes;
    while (server >= 0 && poll(ends.data(), ends.size(), -1) > 0) {
      for (size_t i = 0; i < 2; ++i) {
        if (ends[i].revents == 0) continue;
        const ssize_t got = read(ends[i].fd, bytes.data(), bytes.size());
        if (got <= 0 || send(ends[1 - i].fd, bytes.data(), static_cast<size_t>(got), MSG_NOSIGNAL) != got) {
          shutdown(client, SHUT_RDWR);
          shutdown(server, SHUT_RDWR);
          return;
        }
      }
    }
    shutdown(client, SHUT_RDWR);
  }

  const LoopbackListener listener_;
  const std::string target_;
  mutable Mutex mutex_;
  std::vector<std::string> asked_ ABSL_GUARDED_BY(mutex_);
  std::vector<int> sockets_ ABSL_GUARDED_BY(mutex_);  // closed last, so that no number is used twice
  std::list<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
  std::thread accepting_;
};

}  // namespace fedglm
