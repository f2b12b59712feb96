#include "aggregator/store/artifacts.h"

#include <gtest/gtest.h>

#include "tests/aggregator/rounds/small_federation.h"

namespace fedglm {
namespace {

class ArtifactsTest : public testing::Test {
 protected:
  TemporaryDirectory folder_ = MakeFolder();
  Artifacts artifacts_ = Get(Artifacts::Open(folder_.path() / "artifacts"));
};

TEST_F(ArtifactsTest, ArePublishedUnderTheirDigest) {
  const std::string sha256 = Get(artifacts_.Put("content"));
  EXPECT_EQ(sha256, Sha256Hex("content"));
  EXPECT_EQ(Get(artifacts_.Put("content")), sha256);
  const Artifacts again = Get(Artifacts::Open(folder_.path() / "artifacts"));
  EXPECT_EQ(Get(again.Read(sha256)), "content");
  EXPECT_EQ(Get(again.Bytes(sha256)), 7u);
  EXPECT_EQ(ExitCodeOf(again.Read(Sha256Hex("other")).status()), ExitCode::kRefused);
}

TEST_F(ArtifactsTest, WhatIsStreamedIsTheSameAsWhatIsPutAtOnce) {
  const std::string sha256 = Get(artifacts_.PutStreamed([](const Artifacts::Sink& sink) -> absl::Status {
    for (const std::string part : {"con", "", "tent"}) FEDGLM_RETURN_IF_ERROR(sink(part));
    return absl::OkStatus();
  }));
  EXPECT_EQ(sha256, Sha256Hex("content"));
  EXPECT_EQ(Get(artifacts_.Read(sha256)), "content");
  EXPECT_EQ(AsText(Get(artifacts_.Map(sha256)).bytes()), "content");
  const auto facts = std::filesystem::status(Get(artifacts_.Find(sha256)));
  EXPECT_EQ(facts.permissions(), std::filesystem::perms(0600));
}

TEST_F(ArtifactsTest, AStreamThatBreaksLeavesNothing) {
  const absl::StatusOr<std::string> broken = artifacts_.PutStreamed([](const Artifacts::Sink& sink) -> absl::Status {
    FEDGLM_RETURN_IF_ERROR(sink("con"));
    return FailedError("the adapter is gone");
  });
  EXPECT_EQ(Message(broken.status()), "the adapter is gone");
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path() / "artifacts"));
}

TEST_F(ArtifactsTest, APathIsNoDigest) {
  ASSERT_TRUE(WriteFileAtomically(folder_.path() / "secret", "key").ok());
  std::string upper = Get(artifacts_.Put("content"));
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  const std::vector<std::string> names = {"../secret",          (folder_.path() / "secret").string(), "",   ".",
                                          std::string(64, '/'), "../" + std::string(61, 'a'),         upper};
  for (const std::string& name : names) {
    EXPECT_EQ(ExitCodeOf(artifacts_.Find(name).status()), ExitCode::kRefused) << name;
    EXPECT_EQ(ExitCodeOf(artifacts_.Read(name).status()), ExitCode::kRefused) << name;
    EXPECT_EQ(ExitCodeOf(artifacts_.Bytes(name).status()), ExitCode::kRefused) << name;
  }
}

TEST_F(ArtifactsTest, ContentThatChangedOnDiskIsNotGivenOut) {
  const std::string sha256 = Get(artifacts_.Put("content"));
  ASSERT_TRUE(WriteFileAtomically(Get(artifacts_.Find(sha256)), "c0ntent").ok());
  EXPECT_FALSE(artifacts_.Read(sha256).ok());
  EXPECT_FALSE(artifacts_.Map(sha256).ok());
}

}  // namespace
}  // namespace fedglm
