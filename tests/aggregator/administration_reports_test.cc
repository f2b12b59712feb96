// What an administrator reads at length over real gRPC: losses, the audit log with its checkpoints, adapters.
#include "aggregator/administration_reports.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "tests/aggregator/federation_of_two.h"

namespace fedglm {
namespace {

using grpc::StatusCode;
using testing::HasSubstr;

class AdministrationReportsTest : public FederationOfTwo {
 protected:
  void SetUp() override {
    FederationOfTwo::SetUp();
    administration_ = Administration(Administrator());
  }
  v1::ListLossesResponse Losses(const v1::ListLossesRequest& request) {
    v1::ListLossesResponse losses;
    Call call;
    const grpc::Status status = administration_->ListLosses(&call, request, &losses);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return losses;
  }
  struct Exported {
    v1::ExportAdapterHeader header;
    std::string bytes;
    size_t largest = 0;
    grpc::Status status;
  };
  static Exported Export(v1::Administration::Stub& stub, std::optional<int64_t> round) {
    v1::ExportAdapterRequest request;
    if (round) request.set_round(*round);
    Call call;
    const auto reader = stub.ExportAdapter(&call, request);
    Exported exported;
    v1::ExportAdapterChunk chunk;
    if (reader->Read(&chunk)) {
      EXPECT_TRUE(chunk.has_header());
      exported.header = chunk.header();
    }
    while (reader->Read(&chunk)) {
      EXPECT_FALSE(chunk.has_header());
      exported.bytes += chunk.data();
      exported.largest = std::max(exported.largest, chunk.data().size());
    }
    exported.status = reader->Finish();
    return exported;
  }
  std::unique_ptr<v1::Administration::Stub> administration_;
};

TEST_F(AdministrationReportsTest, LossesAreToldBySiteAndRoundInPages) {
  Report(0, 0, 3.5, 100);
  ASSERT_NO_FATAL_FAILURE(MakeRound(1));
  Report(1, 1, 1.5, 40);
  const v1::ListLossesResponse all = Losses({});
  ASSERT_EQ(all.losses_size(), 3);
  EXPECT_EQ(all.next_page_token(), "");
  EXPECT_EQ(all.losses(0).round(), 0);
  EXPECT_EQ(all.losses(0).evaluation_loss(), 3.5);
  EXPECT_FALSE(all.losses(0).has_training_loss());
  EXPECT_EQ(all.losses(1).site_id(), "a");
  EXPECT_EQ(all.losses(1).training_loss(), 2.0);
  EXPECT_EQ(all.losses(1).examples(), 5);
  EXPECT_FALSE(all.losses(1).has_evaluation_loss());
  EXPECT_EQ(all.losses(2).site_id(), "b");
  EXPECT_EQ(all.losses(2).evaluation_loss(), 1.5);
  EXPECT_EQ(all.losses(2).tokens(), 40);

  v1::ListLossesRequest request;
  request.set_page_size(1);
  std::string seen;
  for (int page = 0; page < 3; ++page) {
    const v1::ListLossesResponse one = Losses(request);
    ASSERT_EQ(one.losses_size(), 1);
    seen += std::to_string(one.losses(0).round()) + one.losses(0).site_id();
    request.set_page_token(one.next_page_token());
  }
  EXPECT_EQ(seen, "0a1a1b");
  EXPECT_EQ(request.page_token(), "");

  request.set_round(1);
  request.set_page_size(0);
  EXPECT_EQ(Losses(request).losses_size(), 2);
  request.set_round(0);
  EXPECT_EQ(Losses(request).losses_size(), 1);
  request.set_round(2);
  EXPECT_EQ(Losses(request).losses_size(), 0);
  request.set_page_token("nonsense");
  Call call;
  v1::ListLossesResponse response;
  EXPECT_EQ(administration_->ListLosses(&call, request, &response).error_code(), StatusCode::INVALID_ARGUMENT);
}

TEST_F(AdministrationReportsTest, ARoundSaysOfHowManyReportsItsMeanIs) {
  ASSERT_NO_FATAL_FAILURE(MakeRound(1));
  Report(0, 1, 1, 40);
  Report(1, 1, 2, 40);
  v1::ListRoundsResponse rounds;
  Call call;
  ASSERT_TRUE(administration_->ListRounds(&call, {}, &rounds).ok());
  ASSERT_GE(rounds.rounds_size(), 1);
  EXPECT_EQ(rounds.rounds(0).evaluations(), 2);
  EXPECT_EQ(rounds.rounds(0).mean_evaluation_loss(), 1.5);
}

TEST_F(AdministrationReportsTest, AnAdapterIsExportedAsItWasPublished) {
  ASSERT_NO_FATAL_FAILURE(MakeRound(1));
  const Exported initial = Export(*administration_, 0), first = Export(*administration_, 1),
                 latest = Export(*administration_, std::nullopt);
  for (const Exported* exported : {&initial, &first, &latest}) {
    EXPECT_TRUE(exported->status.ok()) << exported->status.error_message();
    EXPECT_EQ(Sha256Hex(exported->bytes), exported->header.sha256());
    EXPECT_EQ(exported->bytes.size(), exported->header.bytes());
    EXPECT_LE(exported->largest, size_t{1} << 20);
  }
  EXPECT_EQ(initial.header.round(), 0);
  EXPECT_EQ(Get(ParseAdapter(initial.bytes)).provenance->round, 0);
  EXPECT_EQ(Get(ParseAdapter(first.bytes)).provenance->round, 1);
  EXPECT_EQ(latest.header.round(), 1);
  EXPECT_EQ(latest.bytes, first.bytes);
  for (const int64_t round : {int64_t{2}, int64_t{-1}, INT64_MIN, INT64_MAX}) {
    const Exported none = Export(*administration_, round);
    EXPECT_EQ(none.status.error_code(), StatusCode::PERMISSION_DENIED) << round;
    EXPECT_THAT(none.status.error_message(), HasSubstr("no round"));
  }
}

// While a round is open, the latest adapter is the one that it starts from.
TEST_F(AdministrationReportsTest, TheLatestAdapterIsOfARoundThatIsDone) {
  ASSERT_NO_FATAL_FAILURE(BeginRound(1));
  const Exported latest = Export(*administration_, std::nullopt);
  ASSERT_TRUE(latest.status.ok());
  EXPECT_EQ(latest.header.round(), 0);
  EXPECT_EQ(latest.bytes, Export(*administration_, 0).bytes);
  EXPECT_EQ(Export(*administration_, 1).status.error_code(), StatusCode::PERMISSION_DENIED) << "it is open";
}

TEST_F(AdministrationReportsTest, NothingOfThisIsForASite) {
  const auto site = Administration(Enrolled("berlin"));
  Call call;
  v1::ListLossesResponse losses;
  EXPECT_EQ(site->ListLosses(&call, {}, &losses).error_code(), StatusCode::PERMISSION_DENIED);
  const Exported exported = Export(*site, 0);
  EXPECT_EQ(exported.status.error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(exported.header.sha256(), "");
}

TEST_F(AdministrationReportsTest, EveryHundredthEntryOfTheAuditLogIsSigned) {
  for (int i = 0; i < 210; ++i) Get(server_->CreateToken("x", std::chrono::seconds(60)));
  const PublicKeyPem key(StateFile("signing-public.pem"));
  v1::ListAuditRequest request;
  request.set_limit(150);
  AuditChain chain;
  while (true) {
    v1::ListAuditResponse page;
    Call call;
    request.set_after_id(chain.entries());
    ASSERT_TRUE(administration_->ListAudit(&call, request, &page).ok());
    EXPECT_EQ(page.newest_checkpoint().id(), 200);
    if (page.entries().empty()) break;
    for (const v1::AuditEntry& e : page.entries()) {
      const AuditRow row = {e.id(), e.unix_ms(), e.actor(), e.action(), e.subject(), e.detail(), e.hash()};
      ASSERT_EQ(Message(chain.Add(row)), "");
      for (const v1::AuditCheckpoint& c : page.checkpoints()) {
        if (c.id() != e.id()) continue;
        EXPECT_EQ(Message(chain.Check({c.id(), c.hash(), c.signature()}, key)), "");
      }
    }
  }
  EXPECT_GE(chain.entries(), 210);
  ASSERT_TRUE(chain.last_checkpoint().has_value());
  EXPECT_EQ(chain.last_checkpoint()->id, 200);
}

// A token that is made beside a running aggregator is an entry of the same chain.
TEST_F(AdministrationReportsTest, ATokenMadeOfflineIsInTheChain) {
  Get(CreateTokenOffline(options_, "berlin", std::chrono::seconds(60)));
  Get(server_->CreateToken("x", std::chrono::seconds(60)));
  AuditChain chain;
  for (const AuditRow& entry : Get(Get(Store::Open(options_.state_dir / "state.sqlite"))->Audit(0, 1000))) {
    ASSERT_EQ(Message(chain.Add(entry)), "");
  }
  EXPECT_GE(chain.entries(), 2);
}

}  // namespace
}  // namespace fedglm
