// Ways to an aggregator: each address that sites may be told to dial, mapped ports, proxies. A site enrols and works
// over it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "aggregator/aggregator_server.h"
#include "client/dialling/dial.h"
#include "client/enrolment_client.h"
#include "client/federation_client.h"
#include "tests/client/forwarder.h"
#include "tests/client/site_fixture.h"
#include "tests/support/scoped_variable.h"

namespace fedglm {
namespace {

using testing::Contains;
using testing::HasSubstr;

int FreePort() { return std::stoi(LoopbackListener().port()); }

class AddressesTest : public testing::Test {
 protected:
  void SetUp() override { options_ = SmallOptions(root_.path()); }
  void Start() { server_ = Get(AggregatorServer::Start(options_)); }
  // Enrols with a token and asks for work, over what the token and the answer say.
  absl::Status Works() {
    EXPECT_TRUE(server_ != nullptr);
    const std::string name = "site-" + std::to_string(++sites_);
    FEDGLM_ASSIGN_OR_RETURN(const std::string text, server_->CreateToken(name, std::chrono::seconds(600)));
    FEDGLM_ASSIGN_OR_RETURN(const EnrolmentToken token, ParseToken(text));
    EXPECT_EQ(token.address, server_->enrolment_address());
    FEDGLM_ASSIGN_OR_RETURN(identity_, EnrolSite(token, name, root_.path() / name));
    return Asks();
  }
  absl::Status Asks() {
    FederationClient client(identity_, root_.path() / "artifacts");
    return client.NextTask({{0, ""}, {}, kBaseSha256, 10}, std::chrono::milliseconds(0)).status();
  }

  const TemporaryDirectory root_ = MakeFolder();
  AggregatorOptions options_;
  std::unique_ptr<AggregatorServer> server_;
  SiteIdentity identity_;
  int sites_ = 0;
};

TEST_F(AddressesTest, ASiteWorksOverEveryWayToWriteAnAddress) {
  const struct {
    const char* listen;
    std::vector<std::string> host_names;
    const char* advertise;
    const char* dialled;
  } cases[] = {{"127.0.0.1:0", {"localhost", "127.0.0.1"}, "", "localhost:"},
               {"127.0.0.1:0", {"a.example"}, "127.0.0.1", "127.0.0.1:"},
               {"[::1]:0", {"::1"}, "", "[::1]:"},
               {"[::1]:0", {"[::1]"}, "", "[::1]:"},
               {"[::1]:0", {"localhost"}, "::1", "[::1]:"},
               {"[::]:0", {"localhost"}, "[0:0::1]", "[::1]:"}};
  for (const auto& [listen, host_names, advertise, dialled] : cases) {
    options_.listen = options_.enrolment_listen = listen;
    options_.host_names = host_names;
    options_.advertise = advertise;
    server_.reset();
    Start();
    EXPECT_THAT(server_->federation_address(), testing::StartsWith(dialled));
    const absl::Status status = Works();
    EXPECT_TRUE(status.ok()) << listen << " " << advertise << ": " << Message(status);
  }
}

TEST_F(AddressesTest, ASiteWorksThroughMappedPorts) {
  for (const std::string host : {"127.0.0.1", "[::1]"}) {
    server_.reset();
    const std::string inside = host + ":" + std::to_string(FreePort()), enrol = host + ":" + std::to_string(FreePort());
    const Forwarder outside(inside), enrol_outside(enrol);
    options_.listen = inside;
    options_.enrolment_listen = enrol;
    options_.advertise = "127.0.0.1:" + outside.port();
    options_.enrolment_advertise = "127.0.0.1:" + enrol_outside.port();
    Start();
    const absl::Status status = Works();
    EXPECT_TRUE(status.ok()) << Message(status);
    EXPECT_EQ(identity_.federation_address, outside.address());
    EXPECT_GT(outside.Connections(), 0u);
    EXPECT_GT(enrol_outside.Connections(), 0u);
  }
}

TEST_F(AddressesTest, AnAddressThatIsNoneIsSaidAtTheStart) {
  options_.advertise = "127.0.0.1:";
  const absl::Status status = AggregatorServer::Start(options_).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kConfiguration);
  EXPECT_THAT(Message(status), HasSubstr("server.advertise: '127.0.0.1:' is none of HOST, HOST:PORT"));
}

// The name is one that only the proxy knows: whoever comes by it came through the proxy.
TEST_F(AddressesTest, BothCasesOfTheProxysVariableAreFollowedAndItsExceptions) {
  options_.advertise = "aggregator.test";
  Start();
  for (const char* name : {"https_proxy", "HTTPS_PROXY"}) {
    const Forwarder proxy("");
    const std::string url = "http://" + proxy.address();
    const ScopedVariable variable(name, url.c_str());
    const absl::Status status = Works();
    EXPECT_TRUE(status.ok()) << name << ": " << Message(status);
    EXPECT_THAT(proxy.Asked(), Contains(server_->enrolment_address())) << name;
    EXPECT_THAT(proxy.Asked(), Contains(server_->federation_address())) << name;
    EXPECT_THAT(ProxyInWords(server_->federation_address()), HasSubstr(name));
    for (const char* except : {"no_proxy", "NO_PROXY"}) {
      const size_t before = proxy.Asked().size();
      const ScopedVariable exception(except, "localhost,.test");
      EXPECT_EQ(ExitCodeOf(Asks()), ExitCode::kUnreachable) << "nobody else knows the name";
      EXPECT_EQ(proxy.Asked().size(), before) << name << " " << except;
    }
  }
}

TEST_F(AddressesTest, AProxyThatCannotReachTheAggregatorIsTriedAgain) {
  options_.advertise = "127.0.0.1";
  Start();
  ASSERT_TRUE(Works().ok());
  identity_.federation_address = "aggregator.test:1";
  const Forwarder proxy("");
  const std::string address = proxy.address();
  const ScopedVariable variable("HTTPS_PROXY", address.c_str());
  EXPECT_EQ(ExitCodeOf(Asks()), ExitCode::kUnreachable);
  EXPECT_THAT(proxy.Asked(), Contains("aggregator.test:1"));
}

}  // namespace
}  // namespace fedglm
