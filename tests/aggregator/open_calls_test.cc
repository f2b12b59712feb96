// What a site that means harm may hold of the aggregator, over real gRPC on loopback.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/aggregator/running_server.h"
#include "tests/support/wait_until.h"

namespace fedglm {
namespace {

using grpc::StatusCode;

class OpenCallsTest : public ServerTest {
 protected:
  // An upload that begins and says nothing.
  struct Silent {
    explicit Silent(std::unique_ptr<v1::Federation::Stub> of) : stub(std::move(of)) {
      writer = stub->UploadUpdate(&call, &receipt);
    }
    StatusCode End() { return writer->Finish().error_code(); }
    std::unique_ptr<v1::Federation::Stub> stub;
    Call call;
    v1::UploadReceipt receipt;
    std::unique_ptr<grpc::ClientWriter<v1::UploadRequest>> writer;
  };
};

TEST_F(OpenCallsTest, HundredsOfSilentUploadsOfOneSiteHarmNobody) {
  const Identity hostile = Enrolled("hostile"), honest = Enrolled("honest");
  std::vector<std::unique_ptr<Silent>> silent;
  for (int connection = 0; connection < 20; ++connection) {
    for (int call = 0; call < 16; ++call) silent.push_back(std::make_unique<Silent>(Federation(hostile)));
  }
  // All but a few are ended at once.
  size_t refused = 0;
  for (size_t i = 8; i < silent.size(); ++i) refused += silent[i]->End() == StatusCode::RESOURCE_EXHAUSTED;
  EXPECT_GE(refused, silent.size() - 12);
  const auto stub = Federation(honest);
  EXPECT_EQ(CodeOfNextTask(*stub), StatusCode::OK);
  const auto administration = Administration(Administrator());
  v1::FederationStatus status;
  Call asking;
  EXPECT_TRUE(administration->GetStatus(&asking, {}, &status).ok());
  v1::RevokeNodeRequest revoke;
  revoke.set_site_id("hostile");
  v1::RevokeNodeResponse revoked;
  Call revoking;
  EXPECT_TRUE(administration->RevokeNode(&revoking, revoke, &revoked).ok());
  // And its open ones end now.
  for (size_t i = 0; i < 4; ++i) {
    const StatusCode code = silent[i]->End();
    EXPECT_TRUE(code == StatusCode::PERMISSION_DENIED || code == StatusCode::RESOURCE_EXHAUSTED) << code;
  }
}

TEST_F(OpenCallsTest, ALongPollOfARevokedSiteEndsSoon) {
  const auto stub = Federation(Enrolled("berlin"));
  const auto administration = Administration(Administrator());
  StatusCode code = StatusCode::OK;
  const Stopwatch watch;
  std::thread poll([&] {
    v1::Task task;
    code = NextTask(*stub, 0, &task, 60000).error_code();
  });
  const auto waits = [&] {
    v1::ListNodesResponse nodes;
    Call call;
    return administration->ListNodes(&call, {}, &nodes).ok() && nodes.nodes(0).asked_seconds_ago() >= 0;
  };
  EXPECT_TRUE(WaitUntil(waits));
  v1::RevokeNodeRequest revoke;
  revoke.set_site_id("berlin");
  v1::RevokeNodeResponse revoked;
  Call revoking;
  EXPECT_TRUE(administration->RevokeNode(&revoking, revoke, &revoked).ok());
  poll.join();
  EXPECT_EQ(code, StatusCode::PERMISSION_DENIED);
  EXPECT_LT(watch.Seconds(), 30);  // of the 60 that it would wait
}

TEST_F(OpenCallsTest, ManySitesWaitAndEachIsToldWhenTheRoundBegins) {
  options_.min_sites = 24;
  Start();
  std::vector<std::thread> sites;
  std::atomic<int> told = 0;
  for (int i = 0; i < 24; ++i) {
    sites.emplace_back([this, i, &told] {
      const auto stub = Federation(Enrolled("site-" + std::to_string(i)));
      v1::Task task;
      if (NextTask(*stub, 0, &task, 60000).ok() && task.has_train()) ++told;
    });
  }
  for (std::thread& site : sites) site.join();
  EXPECT_EQ(told, 24);
}

TEST_F(OpenCallsTest, TwoNodesWithOneIdentityAreFound) {
  const Identity identity = Enrolled("berlin");
  const auto stub = Federation(identity);
  const auto ask = [&](const std::string& instance) {
    v1::NextTaskRequest request;
    request.set_base_sha256(kBaseSha256);
    request.set_training_records(10);
    request.set_instance(instance);
    v1::Task task;
    Call call;
    return stub->NextTask(&call, request, &task);
  };
  EXPECT_TRUE(ask("one").ok());
  EXPECT_TRUE(ask("two").ok());
  EXPECT_TRUE(ask("one").ok());
  const grpc::Status refused = ask("two");
  EXPECT_EQ(refused.error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(refused.error_message(), testing::HasSubstr("another node is there with the identity of site berlin"));
}

}  // namespace
}  // namespace fedglm
