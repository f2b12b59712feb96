#include "client/dialling/proxy.h"

#include <algorithm>
#include <cctype>
#include <string_view>
#include <utility>

#include "base/listen_address.h"

namespace fedglm {
namespace {

constexpr std::string_view kScheme = "http://";

struct Variable {
  std::string name, value;
};

// The first one that is set and not empty.
Variable FirstOf(std::initializer_list<const char*> names, const Environment& environment) {
  for (const char* name : names) {
    if (const char* value = environment(name); value != nullptr && *value != '\0') return {name, value};
  }
  return {};
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

// gRPC compares ends, too, and cannot be told not to look at no_proxy.
bool IsExcepted(const std::string& host, std::string_view list) {
  while (!list.empty()) {
    const size_t comma = list.find(',');
    std::string word = Lower(list.substr(0, comma));
    list = comma == std::string_view::npos ? "" : list.substr(comma + 1);
    std::erase_if(word, [](unsigned char c) { return std::isspace(c) != 0 || c == '[' || c == ']'; });
    if (word == "*") return true;
    if (word.rfind("*.", 0) == 0) word.erase(0, 1);
    if (!word.empty() && EndsWith(host, word)) return true;
  }
  return false;
}

bool IsThisMachine(const std::string& host) {
  return host == "localhost" || host == "::1" || host.rfind("127.", 0) == 0;
}

}  // namespace

ProxyChoice ChooseProxy(const std::string& address, const Environment& environment) {
  const Variable proxy = FirstOf({"grpc_proxy", "https_proxy", "HTTPS_PROXY", "http_proxy"}, environment);
  const absl::StatusOr<ListenAddress> dialled = ParseListenAddress(address);
  if (proxy.value.empty() || !dialled.ok()) return {};
  const Variable exceptions = FirstOf({"no_grpc_proxy", "no_proxy", "NO_PROXY"}, environment);
  const std::string dialled_host = Lower(dialled->host);
  if (IsThisMachine(dialled_host) || IsExcepted(dialled_host, exceptions.value)) return {};

  std::string_view rest = proxy.value;
  if (Lower(rest.substr(0, kScheme.size())) == kScheme) rest.remove_prefix(kScheme.size());
  while (EndsWith(rest, "/")) rest.remove_suffix(1);
  const size_t at = rest.find('@');
  const std::string host(at == std::string_view::npos ? rest : rest.substr(at + 1));
  if (!IsDialAddress(host)) {  // nor if a password has another @, which gRPC does not read
    return {"", ", not through the proxy in " + proxy.name + ", which is not http://HOST:PORT"};
  }
  return {std::string(kScheme) + std::string(rest), ", through the proxy " + host + " (" + proxy.name + ")"};
}

}  // namespace fedglm
