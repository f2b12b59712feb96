#include "inference/api/site_hosts.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <memory>

namespace fedglm {
namespace {

constexpr const char* kPrivateNetworks[] = {"127.0.0.0/8",    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
                                            "169.254.0.0/16", "::1",        "fc00::/7",      "fe80::/10"};

// An address as bytes; empty if `text` is none. ::ffff:10.0.0.1 is 10.0.0.1.
std::string AddressBytes(const std::string& text) {
  char bytes[16];
  if (inet_pton(AF_INET, text.c_str(), bytes) == 1) return std::string(bytes, 4);
  if (inet_pton(AF_INET6, text.c_str(), bytes) != 1) return "";
  static constexpr char kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '\xff', '\xff'};
  if (std::equal(kMapped, kMapped + 12, bytes)) return std::string(bytes + 12, 4);
  return std::string(bytes, 16);
}

bool IsHostName(const std::string& text) {
  return !text.empty() && text.size() <= 253 && std::all_of(text.begin(), text.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '.' || c == '_';
  });
}

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

}  // namespace

absl::StatusOr<SiteHosts::Network> SiteHosts::ParseNetwork(const std::string& text) {
  const size_t slash = text.find('/');
  Network network;
  network.bytes = AddressBytes(text.substr(0, slash));
  const int most = static_cast<int>(network.bytes.size()) * 8;
  network.bits = most;
  if (slash != std::string::npos) {
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + slash + 1, end, network.bits);
    if (error != std::errc() || stop != end) network.bits = -1;
  }
  if (most == 0 || network.bits < 0 || network.bits > most) {
    return ConfigurationError("'" + text + "' is not an address or network such as 10.1.0.0/16");
  }
  return network;
}

bool SiteHosts::Holds(const Network& network, std::string_view address) {
  if (network.bytes.size() != address.size()) return false;
  for (int bit = 0; bit < network.bits; ++bit) {
    const size_t byte = static_cast<size_t>(bit / 8);
    if (((network.bytes[byte] ^ address[byte]) >> (7 - bit % 8) & 1) != 0) return false;
  }
  return true;
}

absl::StatusOr<SiteHosts> SiteHosts::Parse(const std::vector<std::string>& rule) {
  SiteHosts hosts;
  for (const std::string& entry : rule) {
    if (entry.find('/') != std::string::npos || !AddressBytes(entry).empty()) {
      FEDGLM_ASSIGN_OR_RETURN(Network network, ParseNetwork(entry));
      hosts.networks_.push_back(std::move(network));
    } else if (IsHostName(entry)) {
      hosts.names_.push_back(Lower(entry));
    } else {
      return ConfigurationError("'" + entry + "' is not a host name, an address or a network");
    }
  }
  return hosts;
}

absl::Status SiteHosts::CheckHost(const std::string& host) const {
  const std::string address = AddressBytes(host);
  const bool named = address.empty() ? std::find(names_.begin(), names_.end(), Lower(host)) != names_.end()
                                     : std::any_of(networks_.begin(), networks_.end(),
                                                   [&](const Network& network) { return Holds(network, address); });
  if (named) return absl::OkStatus();
  return RefusedError("'" + host + "' is not among the hosts that this site allows (serve.upstream_allow)");
}

bool SiteHosts::Allows(std::string_view address) const {
  for (const char* text : kPrivateNetworks) {
    const absl::StatusOr<Network> network = ParseNetwork(text);
    if (network.ok() && Holds(*network, address)) return true;
  }
  return std::any_of(networks_.begin(), networks_.end(),
                     [&](const Network& network) { return Holds(network, address); });
}

absl::StatusOr<std::string> SiteHosts::Resolve(const std::string& host) const {
  FEDGLM_RETURN_IF_ERROR(CheckHost(host));
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (const int error = getaddrinfo(host.c_str(), nullptr, &hints, &list); error != 0) {
    return UnreachableError(host + ": " + gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(list, freeaddrinfo);
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    char text[NI_MAXHOST] = "";
    if (getnameinfo(entry->ai_addr, entry->ai_addrlen, text, sizeof(text), nullptr, 0, NI_NUMERICHOST) != 0) continue;
    if (Allows(AddressBytes(text))) return std::string(text);
  }
  return RefusedError(host + " leads to an address outside the site");
}

}  // namespace fedglm
