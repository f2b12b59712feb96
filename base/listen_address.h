// Addresses as people write them: of a socket to listen on, of one to dial, and of a host that others are to dial.
#pragma once

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cctype>
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
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return UsageError("'" + std::string(text) + "' is not HOST:PORT: an IPv6 address stands in brackets, [::1]:7443");
  }
  address.host = std::string(host);
  return address;
}

// "HOST:PORT", for dialling: an IPv6 address in brackets.
inline std::string HostAndPort(const std::string& host, int port) {
  const bool brackets = host.find(':') != std::string::npos;
  return (brackets ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

// An IPv6 address in the one form in which certificates are compared ("::1"); empty if the text is none.
inline std::string Ipv6Address(std::string_view text) {
  in6_addr bytes;
  std::array<char, INET6_ADDRSTRLEN> form = {};
  if (inet_pton(AF_INET6, std::string(text).c_str(), &bytes) != 1) return "";
  return inet_ntop(AF_INET6, &bytes, form.data(), form.size()) != nullptr ? std::string(form.data()) : "";
}

// A host name, an IPv4 address, or an IPv6 one with or without brackets, which it loses. UsageError otherwise.
inline absl::StatusOr<std::string> ParseHost(std::string_view text) {
  const bool brackets = text.size() > 2 && text.front() == '[' && text.back() == ']';
  const std::string host(brackets ? text.substr(1, text.size() - 2) : text);
  if (std::string ipv6 = Ipv6Address(host); !ipv6.empty()) return ipv6;
  const absl::Status refused = UsageError("'" + std::string(text) + "' is no host name and no address");
  if (brackets || host.empty() || host.size() > 253 || host.front() == '-' || host.front() == '.') return refused;
  const auto is_plain = [](unsigned char c) { return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_'; };
  if (!std::all_of(host.begin(), host.end(), is_plain)) return refused;
  in_addr ipv4;
  const bool numbers = host.find_first_not_of("0123456789.") == std::string::npos;
  if (numbers && inet_pton(AF_INET, host.c_str(), &ipv4) != 1) return refused;
  return host;
}

// What others are to dial: a host as in ParseHost, and maybe a port. Port 0: none is named.
inline absl::StatusOr<ListenAddress> ParseAdvertisedAddress(std::string_view text) {
  if (const absl::StatusOr<std::string> host = ParseHost(text); host.ok()) return ListenAddress{*host, 0};
  const absl::StatusOr<ListenAddress> parsed = ParseListenAddress(text);
  const absl::StatusOr<std::string> host = ParseHost(parsed.ok() ? parsed->host : "");
  const bool name_in_brackets = text.substr(0, 1) == "[" && host.ok() && host->find(':') == std::string::npos;
  if (!host.ok() || parsed->port == 0 || name_in_brackets) {
    return UsageError("'" + std::string(text) + "' is none of HOST, HOST:PORT, IPV6, [IPV6] and [IPV6]:PORT");
  }
  return ListenAddress{*host, parsed->port};
}

// HOST:PORT of another machine, and not a socket in the file system, which gRPC would dial as well.
inline bool IsDialAddress(const std::string& text) {
  const absl::StatusOr<ListenAddress> address = ParseListenAddress(text);
  return address.ok() && ParseHost(address->host).ok() && text.rfind("unix", 0) != 0;
}

}  // namespace fedglm
