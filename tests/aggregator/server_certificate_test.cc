// The aggregator's own certificate, which is made anew while it runs.
#include <gtest/gtest.h>

#include <thread>

#include "tests/aggregator/running_server.h"

namespace fedglm {
namespace {

using std::chrono::hours;
using std::chrono::system_clock;

// What a connection's server has shown.
CertificateFacts ShownOn(v1::Federation::Stub& stub) {
  v1::QueryUploadRequest request;
  v1::UploadState state;
  Call call;
  const grpc::Status status = stub.QueryUpload(&call, request, &state);
  EXPECT_TRUE(status.ok()) << status.error_message();
  const auto shown = call.auth_context()->FindPropertyValues(GRPC_X509_PEM_CERT_PROPERTY_NAME);
  if (shown.empty()) return {};
  return Get(DescribeCertificate(CertificatePem(std::string(shown.front().data(), shown.front().size()))));
}

class ServerCertificateTest : public ServerTest {
 protected:
  // The aggregator's clock is behind: a connection uses the machine's, for which what it makes later is valid.
  void SetUp() override {
    clock_ = std::make_unique<ManualClock>(system_clock::now() - hours(24 * 250));
    ServerTest::SetUp();
  }
};

TEST_F(ServerCertificateTest, IsMadeAnewAtTwoThirdsOfItsLifeForNewConnectionsWhileTheOldOnesStay) {
  const Identity site = Enrolled("berlin");
  const auto old = Federation(site);
  const CertificateFacts first = ShownOn(*old);
  clock_->Advance(hours(24 * 240));
  EXPECT_EQ(ShownOn(*Federation(site)).serial_hex, first.serial_hex) << "not yet";
  clock_->Advance(hours(24 * 9));
  const CertificateFacts second = ShownOn(*Federation(site));
  EXPECT_NE(second.serial_hex, first.serial_hex);
  EXPECT_GT(second.not_after, system_clock::now() + hours(24 * 360));
  EXPECT_EQ(ShownOn(*Federation(site)).serial_hex, second.serial_hex) << "once, not with each handshake";
  EXPECT_EQ(ShownOn(*old).serial_hex, first.serial_hex) << "the same connection as before";
  // The enrolment's port shows the new one as well: its clients have no certificate.
  EXPECT_FALSE(Enrolled("munich").certificate.empty());
}

TEST_F(ServerCertificateTest, WhenToldToItIsMadeAnewAndACallThatWaitsGoesOn) {
  const Identity site = Enrolled("berlin");
  const auto old = Federation(site);
  const std::string first = ShownOn(*old).serial_hex;
  grpc::Status answered(grpc::StatusCode::UNKNOWN, "");
  v1::Task task;
  std::thread waits([&] { answered = NextTask(*old, 0, &task, 1500); });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  server_->LookAgain();
  const std::string second = ShownOn(*Federation(site)).serial_hex;
  EXPECT_NE(second, first);
  waits.join();
  EXPECT_TRUE(answered.ok()) << answered.error_message();
  server_->LookAgain();
  EXPECT_NE(ShownOn(*Federation(site)).serial_hex, second);
}

}  // namespace
}  // namespace fedglm
