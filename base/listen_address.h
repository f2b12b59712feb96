// "HOST:PORT" of a socket to listen on, or of one to dial.
#pragma once

#include <charconv>
#include <string>
#include <string_view>

#include "base/status.h"

namespace fedglm {

struct ListenAddress {
  std::string host;
  int port = 0;
};

// "HOST:PORT" or "[IPV6]:PORT". UsageError otherwise.
inline absl::StatusOr<ListenAddress> ParseListenAddress(std::string_view text) {
  const size_t colon = text.rfind(':');
  const std::string_view digits = colon == std::string_view::npos ? "" : text.substr(colon + 1);
  ListenAddress address;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), address.port);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size() || address.port < 0 ||
      address.port > 65535 || colon == 0) {
    return UsageError("'" + std::string(text) + "' is not HOST:PORT");
  }
  std::string_view host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  address.host = std::string(host);
  return address;
}

// HOST:PORT of another machine, and not a socket in the file system, which gRPC would dial as well.
inline bool IsDialAddress(const std::string& text) {
  return ParseListenAddress(text).ok() && text.find('/') == std::string::npos && text.rfind("unix", 0) != 0;
}

}  // namespace fedglm
