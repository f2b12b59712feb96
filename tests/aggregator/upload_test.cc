// Uploads over real gRPC on loopback: a round of two sites, broken and resumed transfers, what is refused.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "tests/aggregator/running_server.h"
#include "tests/support/wait_until.h"

namespace fedglm {
namespace {

using grpc::StatusCode;

constexpr size_t kMiB = 1 << 20;

// Two sites that were told to train, and what they would send.
class UploadTest : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    for (const char* site : {"a", "b"}) stubs_.push_back(Federation(Enrolled(site)));
    BeginRound(0);
  }
  void BeginRound(int64_t installed_round) {
    v1::Task task;
    for (const auto& stub : stubs_) NextTask(*stub, installed_round, &task, 0);
    tasks_.clear();
    for (const auto& stub : stubs_) {
      ASSERT_TRUE(NextTask(*stub, installed_round, &task).ok());
      ASSERT_TRUE(task.has_train()) << task.ShortDebugString();
      tasks_.push_back(task.train());
    }
    grpc::Status status;
    global_ = Get(ParseAdapter(Download(*stubs_[0], tasks_[0].adapter().sha256(), 0, &status)));
    for (unsigned i = 0; i < 2; ++i) {
      updates_[i] = SerializeTensors(RandomUpdate(global_, UpdateForm::kChangeOfB, i));
    }
  }
  v1::UploadHeader Header(size_t site, uint64_t offset = 0) const {
    v1::UploadHeader header;
    header.set_update_id(tasks_[site].update_id());
    header.set_round(tasks_[site].round());
    header.set_base_sha256(kBaseSha256);
    header.set_adapter_sha256(tasks_[site].adapter().sha256());
    header.set_mode(tasks_[site].mode());
    header.set_examples(5);
    header.set_bytes(updates_[site].size());
    header.set_sha256(Sha256Hex(updates_[site]));
    header.set_offset(offset);
    header.set_training_loss(2.0);
    return header;
  }
  static v1::UploadRequest Chunk(const std::string& bytes) {
    v1::UploadRequest request;
    request.set_chunk(bytes);
    return request;
  }
  static v1::UploadRequest Begin(const v1::UploadHeader& header) {
    v1::UploadRequest request;
    *request.mutable_header() = header;
    return request;
  }
  grpc::Status Upload(v1::Federation::Stub& stub, const std::vector<v1::UploadRequest>& messages,
                      v1::UploadReceipt* receipt) {
    Call call;
    const auto writer = stub.UploadUpdate(&call, receipt);
    for (const v1::UploadRequest& message : messages) {
      if (!writer->Write(message)) break;
    }
    writer->WritesDone();
    return writer->Finish();
  }
  grpc::Status Send(size_t site, v1::UploadReceipt* receipt) {
    return Upload(*stubs_[site], {Begin(Header(site)), Chunk(updates_[site])}, receipt);
  }
  v1::UploadState Query(size_t site) {
    v1::QueryUploadRequest request;
    request.set_update_id(tasks_[site].update_id());
    v1::UploadState state;
    Call call;
    const grpc::Status status = stubs_[site]->QueryUpload(&call, request, &state);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return state;
  }
  // Until the aggregator has so many bytes of it.
  void WaitForBytes(size_t site, uint64_t bytes) {
    WaitUntil([&] { return Query(site).received_bytes() >= bytes; });
    EXPECT_EQ(Query(site).received_bytes(), bytes);
  }
  std::vector<std::unique_ptr<v1::Federation::Stub>> stubs_;
  std::vector<v1::TrainTask> tasks_;
  Adapter global_;
  std::string updates_[2];
};

TEST_F(UploadTest, TwoSitesMakeARoundAndTheAdministratorSeesIt) {
  v1::UploadReceipt receipt;
  for (size_t site = 0; site < 2; ++site) {
    ASSERT_TRUE(Send(site, &receipt).ok());
    EXPECT_TRUE(receipt.accepted()) << receipt.reason();
  }
  v1::Task task;
  ASSERT_TRUE(NextTask(*stubs_[0], 0, &task).ok());
  ASSERT_TRUE(task.has_install());
  EXPECT_EQ(task.install().round(), 1);
  grpc::Status status;
  const Adapter adapter = Get(ParseAdapter(Download(*stubs_[0], task.install().adapter().sha256(), 0, &status)));
  std::vector<std::string> digests = {Sha256Hex(updates_[0]), Sha256Hex(updates_[1])};
  EXPECT_THAT(adapter.provenance->contributors, testing::UnorderedElementsAreArray(digests));
  const PublicKeyPem key(StateFile("signing-public.pem"));
  const std::string signature = Get(Base64UrlDecode(adapter.provenance->signature));
  EXPECT_TRUE(VerifySignature(key, SignedBytes(adapter.config, *adapter.provenance), signature).ok());
  EXPECT_EQ(adapter.provenance->weights_sha256, WeightsSha256(adapter));
  v1::EvaluationReport report;
  report.set_round(1);
  report.set_loss(1.5);
  report.set_tokens(100);
  v1::EvaluationAck ack;
  Call reporting;
  EXPECT_TRUE(stubs_[0]->ReportEvaluation(&reporting, report, &ack).ok());
  report.set_loss(0);
  report.set_tokens(0);
  report.set_failed(true);
  Call reporting_failure;
  EXPECT_TRUE(stubs_[1]->ReportEvaluation(&reporting_failure, report, &ack).ok());

  const auto administrator = Administration(Administrator());
  v1::ListRoundsResponse rounds;
  Call listing;
  ASSERT_TRUE(administrator->ListRounds(&listing, {}, &rounds).ok());
  ASSERT_GE(rounds.rounds_size(), 1);
  const v1::RoundSummary& round = rounds.rounds(0);
  EXPECT_EQ(round.state(), "done");
  EXPECT_EQ(round.cohort(), 2);
  EXPECT_EQ(round.accepted(), 2);
  EXPECT_EQ(round.examples(), 10);
  EXPECT_EQ(round.bytes_received(), updates_[0].size() + updates_[1].size());
  EXPECT_EQ(round.mean_training_loss(), 2.0);
  EXPECT_EQ(round.mean_evaluation_loss(), 1.5);
  EXPECT_EQ(round.adapter_sha256(), task.install().adapter().sha256());
  // Page after page; the round that is open now is the last.
  v1::ListRoundsRequest page;
  page.set_page_size(1);
  v1::ListRoundsResponse first;
  Call first_page;
  ASSERT_TRUE(administrator->ListRounds(&first_page, page, &first).ok());
  ASSERT_EQ(first.rounds_size(), 1);
  EXPECT_EQ(first.rounds(0).round(), 1);
  page.set_page_token("1");
  v1::ListRoundsResponse second;
  Call second_page;
  ASSERT_TRUE(administrator->ListRounds(&second_page, page, &second).ok());
  EXPECT_TRUE(second.next_page_token().empty());
  for (const v1::RoundSummary& later : second.rounds()) EXPECT_EQ(later.round(), 2);
  page.set_page_token("none of ours");
  Call bad_page;
  EXPECT_EQ(administrator->ListRounds(&bad_page, page, &second).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  v1::ListNodesResponse nodes;
  Call nodes_call;
  ASSERT_TRUE(administrator->ListNodes(&nodes_call, {}, &nodes).ok());
  ASSERT_EQ(nodes.nodes_size(), 2);
  EXPECT_EQ(nodes.nodes(0).bytes_received(), updates_[0].size());
  EXPECT_EQ(nodes.nodes(0).training_records(), 10);
}

TEST_F(UploadTest, ABrokenUploadGoesOnWhereItStoppedAlsoAfterARestart) {
  const size_t half = updates_[0].size() / 2;
  {
    Call call;
    v1::UploadReceipt receipt;
    const auto writer = stubs_[0]->UploadUpdate(&call, &receipt);
    ASSERT_TRUE(writer->Write(Begin(Header(0))));
    ASSERT_TRUE(writer->Write(Chunk(updates_[0].substr(0, half))));
    WaitForBytes(0, half);
    // Meanwhile nobody else may write to it.
    v1::UploadReceipt other;
    EXPECT_EQ(Send(0, &other).error_code(), StatusCode::ABORTED);
    call.TryCancel();
    EXPECT_FALSE(writer->Finish().ok());
  }
  const std::string old_address = server_->federation_address();
  options_.listen = old_address;
  Start();
  EXPECT_EQ(Query(0).received_bytes(), half);
  v1::UploadReceipt receipt;
  const grpc::Status beyond = Upload(*stubs_[0], {Begin(Header(0, half + 1)), Chunk("x")}, &receipt);
  EXPECT_EQ(beyond.error_code(), StatusCode::INVALID_ARGUMENT);
  const grpc::Status status = Upload(*stubs_[0], {Begin(Header(0, half)), Chunk(updates_[0].substr(half))}, &receipt);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(receipt.accepted()) << receipt.reason();
  // The receipt was lost: again, and counted once.
  v1::UploadReceipt again;
  ASSERT_TRUE(Send(0, &again).ok());
  EXPECT_TRUE(again.accepted());
  EXPECT_EQ(Get(ReadFile(options_.state_dir / "spool" / (tasks_[0].update_id() + ".update"))), updates_[0]);
}

TEST_F(UploadTest, AnUploadThatEndsEarlyKeepsWhatArrived) {
  v1::UploadReceipt receipt;
  const grpc::Status status = Upload(*stubs_[0], {Begin(Header(0)), Chunk(updates_[0].substr(0, 10))}, &receipt);
  EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(Query(0).received_bytes(), 10u);
}

TEST_F(UploadTest, WhatBreaksTheProtocolIsRefused) {
  const auto code = [&](const std::vector<v1::UploadRequest>& messages) {
    v1::UploadReceipt receipt;
    return Upload(*stubs_[0], messages, &receipt).error_code();
  };
  EXPECT_EQ(code({Chunk("no header")}), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code({}), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code({Begin(Header(0)), Chunk("")}), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code({Begin(Header(0)), Begin(Header(0))}), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code({Begin(Header(0)), Chunk(updates_[0] + "x")}), StatusCode::INVALID_ARGUMENT);
  v1::UploadHeader large = Header(0);
  large.set_bytes(kMiB + 1);
  EXPECT_EQ(code({Begin(large), Chunk(std::string(kMiB + 1, 'x'))}), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code({Begin(large), Chunk(std::string(3 * kMiB, 'x'))}), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Query(0).received_bytes(), 0u);
  EXPECT_TRUE(std::filesystem::is_empty(options_.state_dir / "spool"));
}

TEST_F(UploadTest, RefusedClaimsAreAnsweredForGoodAndLeaveNothingInTheSpool) {
  const auto refusal = [&](const v1::UploadHeader& header, size_t site = 0) {
    v1::UploadReceipt receipt;
    EXPECT_TRUE(Upload(*stubs_[site], {Begin(header), Chunk("bytes")}, &receipt).ok());
    EXPECT_FALSE(receipt.accepted());
    return receipt.reason();
  };
  v1::UploadHeader header = Header(0);
  header.set_base_sha256("other");
  EXPECT_NE(refusal(header).find("base"), std::string::npos);
  EXPECT_NE(refusal(Header(0)).find("base"), std::string::npos) << "for good";
  header = Header(1);
  header.set_bytes(uint64_t{1} << 40);
  EXPECT_NE(refusal(header, 1).find("limit"), std::string::npos);
  header = Header(0);
  header.set_update_id("../../somewhere");
  EXPECT_NE(refusal(header).find("no such update"), std::string::npos);
  EXPECT_NE(refusal(Header(1)).find("no such update"), std::string::npos);  // b's
  EXPECT_TRUE(std::filesystem::is_empty(options_.state_dir / "spool"));
}

TEST_F(UploadTest, BytesOfAnotherDigestAreToBeSentAgain) {
  v1::UploadReceipt receipt;
  std::string damaged = updates_[0];
  damaged.back() = static_cast<char>(damaged.back() ^ 1);
  EXPECT_EQ(Upload(*stubs_[0], {Begin(Header(0)), Chunk(damaged)}, &receipt).error_code(), StatusCode::ABORTED);
  EXPECT_EQ(Query(0).received_bytes(), 0u);
  ASSERT_TRUE(Send(0, &receipt).ok());
  EXPECT_TRUE(receipt.accepted());
}

TEST_F(UploadTest, ASiteThatIsRevokedIsRefusedInTheMiddleOfAnUpload) {
  Call call;
  v1::UploadReceipt receipt;
  const auto writer = stubs_[0]->UploadUpdate(&call, &receipt);
  ASSERT_TRUE(writer->Write(Begin(Header(0))));
  ASSERT_TRUE(writer->Write(Chunk(updates_[0].substr(0, 10))));
  WaitForBytes(0, 10);
  v1::RevokeNodeRequest revoke;
  revoke.set_site_id("a");
  revoke.set_reason("stolen");
  v1::RevokeNodeResponse revoked;
  Call revoking;
  ASSERT_TRUE(Administration(Administrator())->RevokeNode(&revoking, revoke, &revoked).ok());
  writer->Write(Chunk(updates_[0].substr(10)));
  writer->WritesDone();
  EXPECT_EQ(writer->Finish().error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(CodeOfNextTask(*stubs_[0]), StatusCode::PERMISSION_DENIED);
  // b is enough now.
  ASSERT_TRUE(Send(1, &receipt).ok());
  v1::Task task;
  ASSERT_TRUE(NextTask(*stubs_[1], 0, &task).ok());
  EXPECT_TRUE(task.has_install());
  EXPECT_TRUE(std::filesystem::is_empty(options_.state_dir / "spool"));
}

TEST_F(UploadTest, AnUploadThatIsLateIsToldSoAndLeavesNothingInTheSpool) {
  v1::UploadReceipt receipt, late;
  ASSERT_TRUE(Send(1, &receipt).ok());
  Call call;
  const auto writer = stubs_[0]->UploadUpdate(&call, &late);
  ASSERT_TRUE(writer->Write(Begin(Header(0))));
  ASSERT_TRUE(writer->Write(Chunk(updates_[0].substr(0, 10))));
  WaitForBytes(0, 10);  // the server has the beginning: one that comes after the end is refused as of a closed round
  clock_->Advance(std::chrono::seconds(61));
  v1::Task task;
  ASSERT_TRUE(NextTask(*stubs_[1], 0, &task).ok());
  ASSERT_TRUE(task.has_install());  // the round is closed
  writer->Write(Chunk(updates_[0].substr(10)));
  writer->WritesDone();
  const grpc::Status status = writer->Finish();
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_FALSE(late.accepted());
  EXPECT_NE(late.reason().find("late"), std::string::npos) << late.reason();
  EXPECT_TRUE(std::filesystem::is_empty(options_.state_dir / "spool"));
}

}  // namespace
}  // namespace fedglm
