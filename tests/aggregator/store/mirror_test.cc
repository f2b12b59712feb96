// What the store answers from memory is what is in its database, whatever happens to it.
#include "aggregator/store/mirror.h"

#include <gtest/gtest.h>

#include <random>

#include "aggregator/store/store.h"
#include "tests/aggregator/rounds/small_federation.h"
#include "tests/support/effort.h"

namespace fedglm {
namespace {

const std::vector<std::string> kSites = {"a", "b", "c", "d", "e"};

std::string Id(int64_t round, const std::string& site) { return std::to_string(round) + site; }

// All that the mirror has, as text.
std::string Seen(Store& store, int64_t rounds) {
  std::string text;
  store.VisitNodes([&](const NodeRow& node) {
    text += node.site_id + (node.revoked ? " revoked " : " ") + node.serial + " " + node.certificate_pem.text() + " " +
            std::to_string(node.last_seen_unix_ms) + " " + std::to_string(node.training_records) + " " +
            std::to_string(node.installed_round) + " " + std::to_string(node.bytes_received) + "\n";
  });
  for (int64_t round = 1; round <= rounds; ++round) {
    for (const UpdateRow& update : Get(store.UpdatesOf(round))) {
      text += update.update_id + " " + update.site_id + " " + std::to_string(static_cast<int64_t>(update.state)) + " " +
              update.sha256 + " " + std::to_string(update.bytes) + " " + std::to_string(update.examples) + " " +
              std::to_string(update.training_loss) + " " + update.reason + "\n";
    }
  }
  const UpdateCounts counts = store.CountUpdates();
  std::string expected;
  (void)store.AllExpected([&](const std::string& site) { return expected += site + " ", true; });
  return text + std::to_string(counts.expected) + "/" + std::to_string(counts.accepted) + "/" +
         std::to_string(counts.refused) + " " + expected;
}

class StoreMirror : public testing::Test {
 protected:
  const std::string& AnySite() { return kSites[random_() % kSites.size()]; }

  void DoAnything() {
    const std::string& site = AnySite();
    const int64_t number = static_cast<int64_t>(random_() % 1000);
    switch (random_() % 9) {
      case 0:
        return void(store_->PutNode({.site_id = site, .serial = std::to_string(number)}));
      case 1:
        return void(store_->RevokeNode(site));
      case 2:
        return store_->TouchNode(site, number, number / 2, number % 7);
      case 3:
        return store_->SeeNode(site, number);
      case 4:
        if (random_() % 3 == 0) OpenRound();
        return;
      case 5:
        return void(store_->RefuseUpdates(rounds_, random_() % 2 == 0 ? site : "", "gone"));
      case 6:
        return void(store_->ExpectAgain(Id(rounds_, site)));
      case 7:
        return void(store_->BeginAgain(rounds_, {{Id(rounds_, site), site}}));
      default:
        Decide(site, number);
    }
  }
  void OpenRound() {
    RoundRow round;
    round.round = ++rounds_;
    std::vector<std::pair<std::string, std::string>> cohort;
    for (const std::string& site : kSites) {
      if (random_() % 2 == 0) cohort.emplace_back(Id(rounds_, site), site);
    }
    EXPECT_TRUE(store_->Transaction([&] { return store_->OpenRound(round, cohort); }).ok());
  }
  void Decide(const std::string& site, int64_t number) {
    UpdateRow update;
    update.update_id = Id(rounds_, site);
    update.round = rounds_;
    update.site_id = site;
    update.state = number % 2 == 0 ? UpdateState::kAccepted : UpdateState::kRefused;
    update.bytes = number;
    update.reason = std::to_string(number);
    (void)store_->DecideUpdate(update, number);  // fails if it was decided, or never expected
  }
  std::mt19937 random_{7};
  int64_t rounds_ = 0;
  TemporaryDirectory folder_ = MakeFolder();
  const std::filesystem::path path_ = folder_.path() / "state.sqlite";
  std::unique_ptr<Store> store_ = Get(Store::Open(path_));
};

TEST_F(StoreMirror, IsWhatIsInTheDatabase) {
  OpenRound();
  for (int turn = 0; turn < Repetitions(400); ++turn) {
    // Alone, or several that are one transaction, which may fail at its end.
    if (random_() % 4 == 0) {
      const bool fails = random_() % 2 == 0;
      const std::string& site = AnySite();
      (void)store_->Transaction([&]() -> absl::Status {
        (void)store_->PutNode({.site_id = site, .serial = "in a transaction"});
        (void)store_->RefuseUpdates(rounds_, site, "in a transaction");
        return fails ? FailedError("on purpose") : absl::OkStatus();
      });
    } else {
      DoAnything();
    }
    ASSERT_TRUE(store_->WriteLastSeen().ok());
    ASSERT_EQ(Seen(*store_, rounds_), Seen(*Get(Store::Open(path_)), rounds_)) << "turn " << turn;
  }
}

TEST_F(StoreMirror, WhatASiteWasLastSeenWithIsWrittenWhenTheStoreIsClosed) {
  ASSERT_TRUE(store_->PutNode({.site_id = "a"}).ok());
  store_->TouchNode("a", 50, 12, 3);
  EXPECT_EQ(Get(Store::Open(path_))->FindNode("a")->last_seen_unix_ms, 0);
  store_.reset();
  EXPECT_EQ(Get(Store::Open(path_))->FindNode("a")->last_seen_unix_ms, 50);
}

}  // namespace
}  // namespace fedglm
