// A running aggregator with two sites, whose rounds the test makes over real gRPC.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/aggregator/running_server.h"

namespace fedglm {

class FederationOfTwo : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    for (const char* site : {"a", "b"}) stubs_.push_back(Federation(Enrolled(site)));
  }

  // Both sites ask for work: a round is open afterwards.
  void BeginRound(int64_t round) {
    v1::Task task;
    for (const auto& stub : stubs_) NextTask(*stub, round - 1, &task, 0);
    tasks_.clear();
    for (const auto& stub : stubs_) {
      const grpc::Status status = NextTask(*stub, round - 1, &task);
      ASSERT_TRUE(status.ok()) << status.error_message();
      ASSERT_TRUE(task.has_train()) << task.ShortDebugString();
      tasks_.push_back(task.train());
    }
  }
  // Of 5 examples, with a training loss of 2.
  void Send(size_t site) {
    const v1::TrainTask& task = tasks_[site];
    const std::string update =
        SerializeTensors(RandomUpdate(SmallAdapter(), UpdateForm::kChangeOfB, static_cast<unsigned>(site)));
    v1::UploadRequest begin, chunk;
    v1::UploadHeader& header = *begin.mutable_header();
    header.set_update_id(task.update_id());
    header.set_round(task.round());
    header.set_base_sha256(kBaseSha256);
    header.set_adapter_sha256(task.adapter().sha256());
    header.set_mode(task.mode());
    header.set_examples(5);
    header.set_bytes(update.size());
    header.set_sha256(Sha256Hex(update));
    header.set_training_loss(2.0);
    chunk.set_chunk(update);
    Call call;
    v1::UploadReceipt receipt;
    const auto writer = stubs_[site]->UploadUpdate(&call, &receipt);
    writer->Write(begin);
    writer->Write(chunk);
    writer->WritesDone();
    const grpc::Status status = writer->Finish();
    ASSERT_TRUE(status.ok()) << status.error_message();
    ASSERT_TRUE(receipt.accepted()) << receipt.reason();
  }
  // A whole round: it is done afterwards.
  void MakeRound(int64_t round) {
    ASSERT_NO_FATAL_FAILURE(BeginRound(round));
    for (size_t site = 0; site < stubs_.size(); ++site) ASSERT_NO_FATAL_FAILURE(Send(site));
    v1::Task task;
    ASSERT_TRUE(NextTask(*stubs_[0], round - 1, &task).ok());
    ASSERT_TRUE(task.has_install()) << task.ShortDebugString();
    ASSERT_EQ(task.install().round(), round);
  }
  void Report(size_t site, int64_t round, double loss, int64_t tokens) {
    v1::EvaluationReport report;
    report.set_round(round);
    report.set_loss(loss);
    report.set_tokens(tokens);
    v1::EvaluationAck ack;
    Call call;
    const grpc::Status status = stubs_[site]->ReportEvaluation(&call, report, &ack);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }

  std::vector<std::unique_ptr<v1::Federation::Stub>> stubs_;
  std::vector<v1::TrainTask> tasks_;
};

}  // namespace fedglm
