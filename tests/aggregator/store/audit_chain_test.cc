// The audit log as a chain: what is changed in it, left out or put in is found, and named.
#include "aggregator/store/audit_chain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <thread>

#include "aggregator/store/store.h"
#include "base/tls.h"
#include "tests/aggregator/rounds/small_federation.h"

namespace fedglm {
namespace {

using testing::HasSubstr;

struct Log {
  std::vector<AuditRow> entries;
  std::vector<AuditCheckpoint> checkpoints;
};

class AuditChainTest : public testing::Test {
 protected:
  // A log of 250 entries over a store that signs, and what is read of it.
  void SetUp() override {
    store_->SignCheckpointsWith([this](std::string_view text) -> absl::StatusOr<std::string> {
      FEDGLM_ASSIGN_OR_RETURN(const std::string signature, Sign(key_, text));
      return Base64UrlEncode(signature);
    });
    for (int i = 1; i <= 250; ++i) {
      ASSERT_TRUE(store_->AddAudit(1000 + i, "admin:first", "did", "berlin", std::to_string(i)).ok());
    }
  }
  Log Read() { return {Get(store_->Audit(0, 1000)), Get(store_->AuditCheckpoints(0, 1000))}; }
  absl::Status Walk(const Log& log) {
    AuditChain chain;
    auto checkpoint = log.checkpoints.begin();
    for (const AuditRow& entry : log.entries) {
      FEDGLM_RETURN_IF_ERROR(chain.Add(entry));
      if (checkpoint == log.checkpoints.end() || checkpoint->id != entry.id) continue;
      FEDGLM_RETURN_IF_ERROR(chain.Check(*checkpoint++, public_key_));
    }
    FEDGLM_RETURN_IF_ERROR(chain.Finish(Get(store_->NewestAuditCheckpoint())));
    EXPECT_EQ(chain.entries(), static_cast<int64_t>(log.entries.size()));
    return absl::OkStatus();
  }
  // The walk over the log, after it was tampered with, is refused with these words.
  void ExpectFound(const std::string& words, const std::function<void(Log&)>& tamper) {
    Log log = Read();
    tamper(log);
    const absl::Status status = Walk(log);
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kRefused) << words;
    EXPECT_THAT(Message(status), HasSubstr(words));
  }
  // All hashes from this entry on are made anew.
  static void Forge(Log& log, size_t from) {
    for (size_t i = from; i < log.entries.size(); ++i) {
      log.entries[i].hash = AuditHash(i == 0 ? kFirstAuditHash : log.entries[i - 1].hash, log.entries[i]);
    }
  }

  const TemporaryDirectory folder_ = MakeFolder();
  const std::filesystem::path path_ = folder_.path() / "state.sqlite";
  std::unique_ptr<Store> store_ = Get(Store::Open(path_));
  const SigningKeyPem key_ = Get(GenerateSigningKey());
  PublicKeyPem public_key_ = Get(PublicKeyOf(key_));
};

TEST_F(AuditChainTest, ALogThatNobodyTouchedIsWhole) {
  const Log log = Read();
  ASSERT_EQ(log.entries.size(), 250u);
  ASSERT_EQ(log.checkpoints.size(), 2u);
  EXPECT_EQ(log.checkpoints[0].id, 100);
  EXPECT_EQ(log.checkpoints[1].id, 200);
  EXPECT_EQ(log.checkpoints[1].hash, log.entries[199].hash);
  EXPECT_EQ(Message(Walk(log)), "");
}

// The bytes that docs/federation-protocol.md describes, by hand.
TEST_F(AuditChainTest, TheHashIsThatOfTheDocumentedBytes) {
  using namespace std::string_literals;
  const AuditRow entry = {258, 1, "a", "bc", "", "d"};
  const std::string bytes = "fedglm audit entry 1\n\0\0\0\0\0\0\0\x40"s + kFirstAuditHash +
                            "\0\0\0\0\0\0\x01\x02\0\0\0\0\0\0\0\x01"s +
                            "\0\0\0\0\0\0\0\x01"
                            "a"s +
                            "\0\0\0\0\0\0\0\x02"
                            "bc"s +
                            "\0\0\0\0\0\0\0\0"s +
                            "\0\0\0\0\0\0\0\x01"
                            "d"s;
  EXPECT_EQ(AuditHash(kFirstAuditHash, entry), Sha256Hex(bytes));
}

TEST_F(AuditChainTest, WordsThatMoveFromOneFieldToTheNextChangeTheHash) {
  EXPECT_NE(AuditHash("0", {1, 2, "ab", "c", "d", "e"}), AuditHash("0", {1, 2, "a", "bc", "d", "e"}));
  EXPECT_NE(AuditHash("0", {1, 2, "a", "", "b", ""}), AuditHash("0", {1, 2, "a", "b", "", ""}));
}

TEST_F(AuditChainTest, EveryChangedFieldIsFound) {
  ExpectFound("entry 7 does not fit", [](Log& log) { log.entries[6].unix_ms += 1; });
  ExpectFound("entry 7 does not fit", [](Log& log) { log.entries[6].actor = "aggregator"; });
  ExpectFound("entry 7 does not fit", [](Log& log) { log.entries[6].action += " "; });
  ExpectFound("entry 7 does not fit", [](Log& log) { log.entries[6].subject = "aachen"; });
  ExpectFound("entry 7 does not fit", [](Log& log) { log.entries[6].detail = ""; });
  ExpectFound("entry 7 does not fit", [](Log& log) { log.entries[6].hash = ""; });
}

TEST_F(AuditChainTest, WhatIsLeftOutPutInOrExchangedIsFound) {
  ExpectFound("entry 7 is missing", [](Log& log) { log.entries.erase(log.entries.begin() + 6); });
  ExpectFound("entry 8 is missing", [](Log& log) { log.entries.insert(log.entries.begin() + 7, log.entries[6]); });
  ExpectFound("entry 7 is missing", [](Log& log) { std::swap(log.entries[6], log.entries[7]); });
  ExpectFound("entry 1 is missing", [](Log& log) { log.entries.erase(log.entries.begin()); });
  ExpectFound("entry 8 does not fit", [](Log& log) {
    log.entries[6].detail = "nothing";
    log.entries[6].hash = AuditHash(log.entries[5].hash, log.entries[6]);
  });
}

// Whoever makes all hashes anew has no key for the checkpoints.
TEST_F(AuditChainTest, AForgedChainDoesNotFitTheCheckpoints) {
  const auto forge = [](Log& log) {
    log.entries[6].detail = "nothing";
    Forge(log, 6);
  };
  ExpectFound("entry 100 is another one than the checkpoint was made of", forge);
  ExpectFound("entry 100 has a checkpoint that this key did not sign", [&](Log& log) {
    forge(log);
    log.checkpoints[0].hash = log.entries[99].hash;
  });
  ExpectFound("entry 200", [&](Log& log) {
    forge(log);
    log.checkpoints.erase(log.checkpoints.begin());
  });
  ExpectFound("there is a checkpoint of entry 200", [&](Log& log) {
    forge(log);
    log.checkpoints.clear();
  });
  ExpectFound("entry 100 has a checkpoint that this key did not sign",
              [](Log& log) { std::swap(log.checkpoints[0].signature, log.checkpoints[1].signature); });
  AuditChain empty;
  EXPECT_THAT(Message(empty.Check(Read().checkpoints[0], public_key_)), HasSubstr("checkpoint of entry 100"));
}

TEST_F(AuditChainTest, AnotherKeysSignatureIsFound) {
  public_key_ = Get(PublicKeyOf(Get(GenerateSigningKey())));
  ExpectFound("entry 100 has a checkpoint that this key did not sign", [](Log&) {});
}

TEST_F(AuditChainTest, ALogThatIsCutOffIsFoundByItsCheckpoint) {
  ExpectFound("it ends at entry 150, and there is a checkpoint of entry 200",
              [](Log& log) { log.entries.resize(150); });
}

// In the database itself, by somebody who has the file.
TEST_F(AuditChainTest, ALogWhoseEndWasRemovedGoesOnWithAGap) {
  ASSERT_TRUE(Get(Database::Open(path_))->ExecuteScript("DELETE FROM audit WHERE id > 240").ok());
  ASSERT_TRUE(store_->AddAudit(1, "a", "b", "c", "d").ok());
  ExpectFound("entry 241 is missing: the next one is 251", [](Log&) {});
}

TEST_F(AuditChainTest, AnEntryWithoutAHashIsNotChainedLater) {
  ASSERT_TRUE(
      Get(Database::Open(path_))->ExecuteScript("UPDATE audit SET detail = 'x', hash = '' WHERE id = 250").ok());
  store_ = Get(Store::Open(path_));
  ExpectFound("entry 250 does not fit", [](Log&) {});
}

TEST_F(AuditChainTest, AnEntryOfATransactionThatFailsIsNotThere) {
  const absl::Status failed = store_->Transaction([&]() -> absl::Status {
    FEDGLM_RETURN_IF_ERROR(store_->AddAudit(1, "a", "b", "c", "d"));
    return FailedError("no");
  });
  EXPECT_EQ(Message(failed), "no");
  ASSERT_TRUE(store_->AddAudit(1, "a", "b", "c", "d").ok());
  const Log log = Read();
  EXPECT_EQ(log.entries.size(), 251u);
  EXPECT_EQ(Message(Walk(log)), "");
}

// A token is made beside a running aggregator: two programs write.
TEST_F(AuditChainTest, TwoConnectionsWriteOneChain) {
  const std::unique_ptr<Store> other = Get(Store::Open(path_));
  std::thread beside([&] {
    for (int i = 0; i < 20; ++i) EXPECT_TRUE(other->AddAudit(i, "local", "token created", "x", "").ok());
  });
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(store_->AddAudit(i, "a", "b", "c", "d").ok());
  beside.join();
  const Log log = Read();
  EXPECT_EQ(log.entries.size(), 290u);
  EXPECT_EQ(Message(Walk(log)), "");
}

}  // namespace
}  // namespace fedglm
