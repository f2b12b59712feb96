// Which proxy a connection goes through, as the environment says. Pure: it reads no environment of its own.
#pragma once

#include <functional>
#include <string>

namespace fedglm {

// The value of a variable of the environment; null: it is not set.
using Environment = std::function<const char*(const char* name)>;

struct ProxyChoice {
  std::string url;       // http://[USER:PASSWORD@]HOST:PORT; empty: none
  std::string in_words;  // for the log, without a password: ", through the proxy …"; empty: nothing to say
};

// For an address HOST:PORT. The first that is set of grpc_proxy, https_proxy, HTTPS_PROXY and http_proxy names the
// proxy, unless the host ends with one of the comma-separated words of the first that is set of no_grpc_proxy, no_proxy
// and NO_PROXY; "*" is every host. This machine itself (localhost, 127.…, ::1) is never dialled through one.
ProxyChoice ChooseProxy(const std::string& address, const Environment& environment);

}  // namespace fedglm
