#include "base/listen_address.h"

#include <gtest/gtest.h>

namespace fedglm {
namespace {

TEST(ListenAddress, HostsNamesAndBothKindsOfAddresses) {
  const struct {
    const char* text;
    const char* host;
    int port;
  } cases[] = {{"127.0.0.1:7443", "127.0.0.1", 7443}, {"localhost:0", "localhost", 0}, {"[::1]:65535", "::1", 65535}};
  for (const auto& [text, host, port] : cases) {
    const absl::StatusOr<ListenAddress> address = ParseListenAddress(text);
    ASSERT_TRUE(address.ok()) << text;
    EXPECT_EQ(address->host, host);
    EXPECT_EQ(address->port, port);
  }
}

TEST(ListenAddress, WhatIsNoneIsRefused) {
  for (const char* text : {"", ":", "localhost", "localhost:", ":80", "localhost:65536", "localhost:-1",
                           "localhost:http", "localhost:80x", "localhost:99999999999999999999", "::1:80", "fe80::1"}) {
    EXPECT_EQ(ExitCodeOf(ParseListenAddress(text).status()), ExitCode::kUsage) << text;
  }
}

TEST(ParseAdvertisedAddress, EveryWayToWriteAHostWithAPortAndWithout) {
  const struct {
    const char* text;
    const char* host;
    int port;
    const char* dialled_at_7443;
  } cases[] = {{"a.example", "a.example", 0, "a.example:7443"},
               {"a.example:443", "a.example", 443, "a.example:7443"},
               {"192.0.2.1", "192.0.2.1", 0, "192.0.2.1:7443"},
               {"192.0.2.1:443", "192.0.2.1", 443, "192.0.2.1:7443"},
               {"::1", "::1", 0, "[::1]:7443"},
               {"[::1]", "::1", 0, "[::1]:7443"},
               {"[::1]:443", "::1", 443, "[::1]:7443"},
               {"2001:DB8:0:0::1", "2001:db8::1", 0, "[2001:db8::1]:7443"},
               {"[2001:db8::1]:65535", "2001:db8::1", 65535, "[2001:db8::1]:7443"}};
  for (const auto& [text, host, port, dialled] : cases) {
    const absl::StatusOr<ListenAddress> address = ParseAdvertisedAddress(text);
    ASSERT_TRUE(address.ok()) << text;
    EXPECT_EQ(address->host, host);
    EXPECT_EQ(address->port, port);
    EXPECT_EQ(HostAndPort(address->host, 7443), dialled);
    EXPECT_TRUE(IsDialAddress(dialled)) << dialled;
  }
  for (const char* text : {"", ":443", "a b", "a/b", "http://a", "a:http", "a:0", "a:65536", "[::1", "::1]", "[a]:1",
                           "[::1]:0", "300.1.1.1", "1.2.3:4", "-a", "fe80::1%eth0", "1:2:3:4:5:6:7:8:9", "*"}) {
    EXPECT_FALSE(ParseAdvertisedAddress(text).ok()) << text;
  }
}

TEST(IsDialAddress, IsNoFileAndHasAPort) {
  for (const char* text : {"unix:7", "/a:7", "localhost", "::1:7", "a b:7", ""})
    EXPECT_FALSE(IsDialAddress(text)) << text;
}

}  // namespace
}  // namespace fedglm
