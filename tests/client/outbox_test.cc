#include "client/outbox.h"

#include <gmock/gmock.h>

#include "tests/client/site_fixture.h"

namespace fedglm {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class OutboxTest : public testing::Test {
 protected:
  static OutboxEntry Entry(const std::string& id, int64_t round) {
    OutboxEntry entry;
    entry.update_id = id;
    entry.round = round;
    entry.base_sha256 = std::string(64, 'b');
    entry.adapter_sha256 = std::string(64, 'a');
    entry.mode = "freeze-a";
    entry.examples = 640;
    entry.training_loss = 1.0 / 3;
    return entry;
  }
  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    for (const auto& file : std::filesystem::directory_iterator(folder_))
      names.push_back(file.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }
  static std::vector<std::string> Ids(const std::vector<OutboxEntry>& entries) {
    std::vector<std::string> ids;
    for (const OutboxEntry& entry : entries) ids.push_back(entry.update_id);
    return ids;
  }

  const TemporaryDirectory root_ = MakeFolder();
  const std::filesystem::path folder_ = root_.path() / "outbox";
};

TEST_F(OutboxTest, WhatWasPutIsThereInTheNextLife) {
  const std::string payload("\0bytes\xff", 7);
  ASSERT_TRUE(Get(Outbox::Open(folder_)).Put(Entry("ab12", 3), payload).ok());
  const Outbox again = Get(Outbox::Open(folder_));
  const std::optional<OutboxEntry> found = Get(again.Find("ab12"));
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->round, 3);
  EXPECT_EQ(found->base_sha256, std::string(64, 'b'));
  EXPECT_EQ(found->adapter_sha256, std::string(64, 'a'));
  EXPECT_EQ(found->mode, "freeze-a");
  EXPECT_EQ(found->examples, 640);
  EXPECT_EQ(found->training_loss, 1.0 / 3) << "to the last bit: the same message is sent again";
  EXPECT_EQ(found->sha256, Sha256Hex(payload));
  EXPECT_EQ(found->bytes, payload.size());
  EXPECT_EQ(Get(again.ReadPayload(*found)), payload);
  EXPECT_FALSE(Get(again.Find("ab13")).has_value());
}

TEST_F(OutboxTest, TheOldestRoundWaitsFirst) {
  Outbox outbox = Get(Outbox::Open(folder_));
  for (const auto& [id, round] : {std::pair("aa", 12), {"bb", 2}, {"0c", 12}, {"dd", 1}}) {
    ASSERT_TRUE(outbox.Put(Entry(id, round), id).ok());
  }
  EXPECT_THAT(Ids(Get(outbox.Waiting())), ElementsAre("dd", "bb", "0c", "aa"));
  ASSERT_TRUE(outbox.Remove("bb").ok());
  EXPECT_THAT(Ids(Get(outbox.Waiting())), ElementsAre("dd", "0c", "aa"));
  EXPECT_EQ(Files().size(), 6u) << "its bytes are gone, too";
}

TEST_F(OutboxTest, BytesThatChangedOnDiskDoNotLeave) {
  Outbox outbox = Get(Outbox::Open(folder_));
  ASSERT_TRUE(outbox.Put(Entry("aa", 1), "an update").ok());
  const OutboxEntry entry = *Get(outbox.Find("aa"));
  ASSERT_TRUE(WriteFileAtomically(folder_ / "aa.update", "an updatf").ok());
  EXPECT_EQ(outbox.ReadPayload(entry).status().code(), absl::StatusCode::kInternal)
      << Message(outbox.ReadPayload(entry).status());
  std::filesystem::remove(folder_ / "aa.update");
  EXPECT_FALSE(outbox.ReadPayload(entry).ok()) << "lost";
}

TEST_F(OutboxTest, AnUpdateIdThatIsAPathIsRefused) {
  Outbox outbox = Get(Outbox::Open(folder_));
  ASSERT_TRUE(WriteFileAtomically(root_.path() / "treasure.update", "kept").ok());
  for (const std::string& id :
       {std::string("../treasure"), std::string("/etc/passwd"), std::string(".."), std::string(), std::string("AA"),
        std::string("a.b"), std::string("a\0b", 3), std::string(65, 'a')}) {
    EXPECT_EQ(ExitCodeOf(outbox.Put(Entry(id, 1), "x")), ExitCode::kRefused) << id;
    EXPECT_EQ(ExitCodeOf(outbox.Find(id).status()), ExitCode::kRefused) << id;
    EXPECT_EQ(ExitCodeOf(outbox.Remove(id)), ExitCode::kRefused) << id;
  }
  EXPECT_THAT(Files(), IsEmpty());
  EXPECT_EQ(Get(ReadFile(root_.path() / "treasure.update")), "kept");
}

// Killed between two writes: bytes without an entry, an entry that never got its name.
TEST_F(OutboxTest, WhatAKilledProcessLeftHalfWrittenIsRemovedAtTheNextStart) {
  ASSERT_TRUE(Get(Outbox::Open(folder_)).Put(Entry("aa", 1), "whole").ok());
  for (const char* name : {"bb.update", "cc.update.Xy12Zw", "cc.json.Ab34Cd"}) {
    ASSERT_TRUE(WriteFileAtomically(folder_ / name, "half").ok());
  }
  const Outbox outbox = Get(Outbox::Open(folder_));
  EXPECT_THAT(Files(), ElementsAre("aa.json", "aa.update"));
  EXPECT_THAT(Ids(Get(outbox.Waiting())), ElementsAre("aa"));
}

}  // namespace
}  // namespace fedglm
