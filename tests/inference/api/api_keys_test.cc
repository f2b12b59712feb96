#include "inference/api/api_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/file.h"
#include "inference/api/rate_limiter.h"

namespace fedglm {
namespace {

using testing::HasSubstr;
using testing::Not;

class ApiKeysTest : public testing::Test {
 protected:
  const TemporaryDirectory folder_ = *TemporaryDirectory::Make("keys");
  const std::filesystem::path file_ = folder_.path() / "keys";
  ManualClock clock_{std::chrono::system_clock::time_point(std::chrono::hours(1))};
};

TEST_F(ApiKeysTest, AKeyIsFoundByItselfAndByNothingElse) {
  const std::string key = *AddApiKey(file_, "ward-7", {60, 1000, 4});
  const std::string other = *AddApiKey(file_, "ward-8", {});
  const auto store = *ApiKeyStore::Open(file_, clock_);
  const auto found = store->Find(key);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->name, "ward-7");
  EXPECT_EQ(found->limits.requests_per_minute, 60);
  EXPECT_EQ(found->limits.tokens_per_minute, 1000);
  EXPECT_EQ(found->limits.parallel, 4);
  EXPECT_EQ(store->Find(other)->limits.parallel, 0);
  std::string wrong = key;
  wrong.back() = wrong.back() == 'A' ? 'B' : 'A';
  for (const std::string& no : {std::string(), std::string("fedglm-"), wrong, key + "x", key.substr(0, key.size() - 1),
                                key.substr(0, 20) + other.substr(20)}) {
    EXPECT_EQ(store->Find(no), nullptr) << no;
  }
}

TEST_F(ApiKeysTest, TheFileHoldsNoKeyAndIsTheOwnersAlone) {
  const std::string key = *AddApiKey(file_, "ward-7", {});
  const std::string text = *ReadFile(file_);
  EXPECT_THAT(text, Not(HasSubstr(key.substr(key.size() - 43))));
  struct stat status = {};
  ASSERT_EQ(stat(file_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(ApiKeysTest, ANameIsTakenOnceAndRevokedByIt) {
  const std::string key = *AddApiKey(file_, "ward-7", {});
  EXPECT_FALSE(AddApiKey(file_, "ward-7", {}).ok());
  EXPECT_FALSE(AddApiKey(file_, "two words", {}).ok());
  EXPECT_FALSE(AddApiKey(file_, "", {}).ok());
  const auto store = *ApiKeyStore::Open(file_, clock_);
  ASSERT_NE(store->Find(key), nullptr);
  EXPECT_FALSE(RemoveApiKey(file_, "ward-9").ok());
  ASSERT_TRUE(RemoveApiKey(file_, "ward-7").ok());
  clock_.Advance(std::chrono::milliseconds(999));
  EXPECT_NE(store->Find(key), nullptr) << "it looks once a second";
  clock_.Advance(std::chrono::milliseconds(1));
  EXPECT_EQ(store->Find(key), nullptr) << "a running server must see that a key is revoked";
}

TEST_F(ApiKeysTest, AClockThatIsSetBackDoesNotKeepARevokedKey) {
  const std::string key = *AddApiKey(file_, "ward-7", {});
  const auto store = *ApiKeyStore::Open(file_, clock_);
  ASSERT_TRUE(RemoveApiKey(file_, "ward-7").ok());
  clock_.Advance(-std::chrono::minutes(10));
  EXPECT_EQ(store->Find(key), nullptr);
}

TEST_F(ApiKeysTest, ALineThatIsWrongIsNamed) {
  const std::string good = MakeApiKey("a", {})->line;
  for (const std::string& bad :
       {std::string("v1 a\n"), "v2" + good.substr(2), good.substr(0, good.size() - 2) + "\n",
        good.substr(0, good.size() - 1) + " parallel=-1\n", good.substr(0, good.size() - 1) + " speed=7\n", good}) {
    const absl::StatusOr<ApiKeyTable> table = ParseApiKeys("# keys\n" + good + bad, "keys");
    ASSERT_FALSE(table.ok()) << bad;
    EXPECT_EQ(ExitCodeOf(table.status()), ExitCode::kConfiguration);
    EXPECT_THAT(Message(table.status()), HasSubstr("keys:3: "));
  }
  EXPECT_EQ(ParseApiKeys("\n  # nothing\n", "keys")->size(), 0u);
}

TEST_F(ApiKeysTest, ABadChangeOfTheFileChangesNothing) {
  const std::string key = *AddApiKey(file_, "ward-7", {});
  const NewApiKey other = *MakeApiKey("ward-8", {});
  const auto store = *ApiKeyStore::Open(file_, clock_);
  ASSERT_TRUE(WriteFileAtomically(file_, other.line + "rubbish\n").ok());
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_NE(store->Find(key), nullptr);
  EXPECT_EQ(store->Find(other.key), nullptr) << "not even the lines that are right";
  // It has looked, and looks again: the same file without the rubbish is taken.
  ASSERT_TRUE(WriteFileAtomically(file_, other.line).ok());
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_EQ(store->Find(key), nullptr);
  EXPECT_NE(store->Find(other.key), nullptr);
}

class RateLimiterTest : public testing::Test {
 protected:
  ManualClock clock_{std::chrono::system_clock::time_point(std::chrono::hours(1))};
  RateLimiter limiter_{clock_};
};

TEST_F(RateLimiterTest, RequestsComeBackWithTheMinute) {
  const ApiKey key{"a", "1", "", "", {.requests_per_minute = 2}};
  EXPECT_TRUE(limiter_.Enter(key).allowed);
  EXPECT_TRUE(limiter_.Enter(key).allowed);
  const RateDecision refused = limiter_.Enter(key);
  EXPECT_FALSE(refused.allowed);
  EXPECT_EQ(refused.limit, "requests");
  EXPECT_EQ(refused.retry_after_seconds, 30);
  EXPECT_THAT(refused.headers, testing::Contains(testing::Pair("x-ratelimit-remaining-requests", "0")));
  EXPECT_THAT(refused.headers, testing::Contains(testing::Pair("x-ratelimit-reset-requests", "1m0s")));
  clock_.Advance(std::chrono::seconds(29));
  EXPECT_FALSE(limiter_.Enter(key).allowed);
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_TRUE(limiter_.Enter(key).allowed);
  EXPECT_TRUE(limiter_.Enter({"b", "2", "", "", {.requests_per_minute = 1}}).allowed);  // another key's own
}

TEST_F(RateLimiterTest, RunningRequestsHaveALimit) {
  const ApiKey key{"a", "1", "", "", {.parallel = 2}};
  EXPECT_TRUE(limiter_.Enter(key).allowed);
  EXPECT_TRUE(limiter_.Enter(key).allowed);
  EXPECT_EQ(limiter_.Enter(key).limit, "parallel");
  limiter_.Leave(key);
  EXPECT_TRUE(limiter_.Enter(key).allowed);
}

TEST_F(RateLimiterTest, AnswersAreCountedWhenTheyHaveBeenWritten) {
  const ApiKey key{"a", "1", "", "", {.tokens_per_minute = 600}};
  EXPECT_TRUE(limiter_.Enter(key).allowed);
  EXPECT_TRUE(limiter_.TakePrompt(key, 500).allowed);
  EXPECT_EQ(limiter_.TakePrompt(key, 200).limit, "tokens");
  EXPECT_EQ(limiter_.TakePrompt(key, 200).retry_after_seconds, 10);
  limiter_.CountAnswer(key, 400);  // 300 below nothing
  EXPECT_EQ(limiter_.Enter(key).limit, "tokens");
  clock_.Advance(std::chrono::seconds(31));
  EXPECT_TRUE(limiter_.Enter(key).allowed);
  clock_.Advance(std::chrono::hours(1));
  EXPECT_TRUE(limiter_.TakePrompt(key, 5000).allowed)
      << "a prompt above a minute's tokens needs a full bucket, no more";
  EXPECT_FALSE(limiter_.TakePrompt(key, 1).allowed);
}

TEST_F(RateLimiterTest, WithoutLimitsThereAreNone) {
  const ApiKey key{"a", "1", "", "", {}};
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(limiter_.Enter(key).allowed);
  EXPECT_TRUE(limiter_.TakePrompt(key, 1 << 30).allowed);
  EXPECT_TRUE(limiter_.Enter(key).headers.empty());
}

TEST_F(RateLimiterTest, AClockThatIsSetBackFillsNothingAndStopsNothing) {
  const ApiKey key{"a", "1", "", "", {.requests_per_minute = 1}};
  EXPECT_TRUE(limiter_.Enter(key).allowed);
  clock_.Advance(-std::chrono::minutes(10));
  EXPECT_FALSE(limiter_.Enter(key).allowed);
  clock_.Advance(std::chrono::minutes(1));
  EXPECT_TRUE(limiter_.Enter(key).allowed);
}

}  // namespace
}  // namespace fedglm
