// The servers that a site's own rule names: the only ones that a prompt, which is a record, may be handed to.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace fedglm {

// Immutable; thread-safe. A rule is a list of host names, addresses, and networks ("10.1.0.0/16", "fd00::/8").
class SiteHosts {
 public:
  // ConfigurationError for an entry that is none of these.
  static absl::StatusOr<SiteHosts> Parse(const std::vector<std::string>& rule);

  // Refused unless the rule names the host itself, or, for an address, a network it lies in.
  absl::Status CheckHost(const std::string& host) const;

  // An address of `host` to connect to. A name is not enough: where it leads today must be a private address (RFC 1918,
  // RFC 4193, link-local, loopback) or one that the rule has, so that a name server cannot send a prompt elsewhere.
  // Refused otherwise, Unreachable if the host has no address. Waits for the name server.
  absl::StatusOr<std::string> Resolve(const std::string& host) const;

 private:
  struct Network {
    std::string bytes;  // 4 or 16, network order
    int bits = 0;
  };
  static absl::StatusOr<Network> ParseNetwork(const std::string& text);
  static bool Holds(const Network& network, std::string_view address);
  bool Allows(std::string_view address) const;

  std::vector<std::string> names_;
  std::vector<Network> networks_;
};

}  // namespace fedglm
