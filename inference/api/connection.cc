#include "inference/api/connection.h"

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <charconv>
#include <filesystem>
#include <functional>

namespace fedglm {
namespace {

// Calls `use` for each open file descriptor until it says true.
void ForEachDescriptor(const std::function<bool(int descriptor)>& use) {
  std::error_code error;
  std::filesystem::directory_iterator entry("/proc/self/fd", error), end;
  for (; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    int descriptor = -1;
    std::from_chars(name.data(), name.data() + name.size(), descriptor);
    if (descriptor >= 0 && use(descriptor)) return;
  }
}

int PortOf(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  return -1;
}

std::string HostOf(const sockaddr_storage& address, socklen_t size) {
  char host[NI_MAXHOST] = "";
  getnameinfo(reinterpret_cast<const sockaddr*>(&address), size, host, sizeof(host), nullptr, 0, NI_NUMERICHOST);
  return host;
}

}  // namespace

int FindSocketOfPeer(const std::string& address, int port) {
  int found = -1;
  ForEachDescriptor([&](int descriptor) {
    sockaddr_storage peer = {};
    socklen_t size = sizeof(peer);
    if (getpeername(descriptor, reinterpret_cast<sockaddr*>(&peer), &size) != 0) return false;
    if (PortOf(peer) != port || HostOf(peer, size) != address) return false;
    found = descriptor;
    return true;
  });
  return found;
}

bool PeerHasGone(int socket) {
  pollfd state = {socket, POLLRDHUP, 0};
  return socket >= 0 && poll(&state, 1, 0) > 0 && (state.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

void EndIdleConnections(int local_port) {
  ForEachDescriptor([&](int descriptor) {
    sockaddr_storage local = {}, peer = {};
    socklen_t local_size = sizeof(local), peer_size = sizeof(peer);
    if (getsockname(descriptor, reinterpret_cast<sockaddr*>(&local), &local_size) == 0 && PortOf(local) == local_port &&
        getpeername(descriptor, reinterpret_cast<sockaddr*>(&peer), &peer_size) == 0) {
      shutdown(descriptor, SHUT_RD);
    }
    return false;
  });
}

}  // namespace fedglm
