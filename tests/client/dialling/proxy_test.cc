#include "client/dialling/proxy.h"

#include <gtest/gtest.h>

#include <map>

namespace fedglm {
namespace {

using Variables = std::map<std::string, std::string>;

ProxyChoice Choose(const Variables& variables, const std::string& address = "a.example:7443") {
  return ChooseProxy(address, [&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(Proxy, BothCasesOfTheVariableNameIt) {
  EXPECT_EQ(Choose({}).url, "");
  EXPECT_EQ(Choose({}).in_words, "");
  for (const char* name : {"grpc_proxy", "https_proxy", "HTTPS_PROXY", "http_proxy"}) {
    const ProxyChoice choice = Choose({{name, "http://proxy.example:3128"}});
    EXPECT_EQ(choice.url, "http://proxy.example:3128") << name;
    EXPECT_EQ(choice.in_words, std::string(", through the proxy proxy.example:3128 (") + name + ")");
  }
  EXPECT_EQ(Choose({{"HTTPS_PROXY", "http://upper:1"}, {"https_proxy", "http://lower:1"}}).url, "http://lower:1");
  EXPECT_EQ(Choose({{"HTTPS_PROXY", "http://upper:1"}, {"https_proxy", ""}}).url, "http://upper:1");
}

TEST(Proxy, APasswordIsUsedAndNotSaid) {
  const ProxyChoice choice = Choose({{"HTTPS_PROXY", "http://site:p%40ss@proxy:3128/"}});
  EXPECT_EQ(choice.url, "http://site:p%40ss@proxy:3128");
  EXPECT_EQ(Choose({{"HTTPS_PROXY", "http://site:p@ss@proxy:3128/"}}).url, "") << "gRPC reads no second @";
  EXPECT_EQ(choice.in_words, ", through the proxy proxy:3128 (HTTPS_PROXY)");
}

TEST(Proxy, AnAddressWithoutItsSchemeIsOne) {
  EXPECT_EQ(Choose({{"https_proxy", "proxy:3128"}}).url, "http://proxy:3128");
  EXPECT_EQ(Choose({{"https_proxy", "HTTP://[::1]:3128"}}).url, "http://[::1]:3128");
}

TEST(Proxy, WhatIsNoneIsSaidAndNotUsed) {
  for (const char* value : {"https://proxy:3128", "socks5://proxy:1", "http://proxy", "http://"}) {
    const ProxyChoice choice = Choose({{"https_proxy", value}});
    EXPECT_EQ(choice.url, "") << value;
    EXPECT_NE(choice.in_words.find("not through the proxy in https_proxy"), std::string::npos) << value;
  }
}

TEST(Proxy, ExceptionsAreEndsOfHostNames) {
  const auto excepted = [](const std::string& name, const std::string& list, const std::string& address) {
    return Choose({{"https_proxy", "http://proxy:1"}, {name, list}}, address).url.empty();
  };
  for (const char* name : {"no_grpc_proxy", "no_proxy", "NO_PROXY"}) {
    EXPECT_TRUE(excepted(name, "localhost, .Example", "a.example:7443")) << name;
    EXPECT_FALSE(excepted(name, "localhost, b.example", "a.example:7443")) << name;
  }
  EXPECT_TRUE(excepted("no_proxy", "*.example", "A.EXAMPLE:7443"));
  EXPECT_TRUE(excepted("no_proxy", "192.0.2.1", "192.0.2.1:7443"));
  EXPECT_TRUE(excepted("no_proxy", "[2001:db8::1]", "[2001:db8::1]:7443"));
  EXPECT_TRUE(excepted("NO_PROXY", "*", "[2001:db8::1]:7443"));
  EXPECT_FALSE(excepted("no_proxy", ",, ,", "a.example:7443"));
  EXPECT_FALSE(excepted("no_proxy", "localhost", "[2001:db8::1]:7443"));
  for (const char* here : {"localhost:1", "127.0.0.1:1", "[::1]:1"})
    EXPECT_TRUE(excepted("no_proxy", "", here)) << here;
}

}  // namespace
}  // namespace fedglm
