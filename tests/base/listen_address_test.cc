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
                           "localhost:http", "localhost:80x", "localhost:99999999999999999999"}) {
    EXPECT_EQ(ExitCodeOf(ParseListenAddress(text).status()), ExitCode::kUsage) << text;
  }
}

}  // namespace
}  // namespace fedglm
