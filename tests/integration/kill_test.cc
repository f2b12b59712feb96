// Nothing is lost, nothing is counted twice: kill -9 of a node or of the aggregator at the moments that hurt most. The
// final adapter is the undisturbed one's, byte for byte.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "adapter/adapter.h"
#include "base/file.h"
#include "base/json.h"
#include "tests/integration/federation.h"
#include "tests/integration/processes.h"
#include "tests/integration/relay.h"
#include "tests/support/golden.h"

namespace fedglm {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr auto kMoment = std::chrono::seconds(60);
constexpr int kRounds = 2;
constexpr uint64_t kChunk =
    1 << 20;  // of a transfer; an update of rank 128 has two, the first of them whole when held here:
constexpr uint64_t kInSecondChunk = kChunk + (200 << 10);
const std::vector<std::string> kSites = {"east", "west"};

int Count(const std::string& text, const std::string& piece) {
  int count = 0;
  for (size_t at = text.find(piece); at != std::string::npos; at = text.find(piece, at + 1)) ++count;
  return count;
}

std::string Records(const std::string& site, int count) {
  std::string lines;
  for (int i = 0; i < count; ++i) {
    lines += RecordLine(site + " asks number " + std::to_string(i),
                        "the answer of " + site + " is " + std::to_string(7 * i));
  }
  return lines;
}

// A federation of two sites and two rounds whose connections all pass a relay.
struct Disturbed {
  Disturbed(const std::filesystem::path& folder, const FederationSettings& settings) : federation(folder, settings) {}

  absl::Status Start() {
    FEDGLM_RETURN_IF_ERROR(federation.StartAggregator());
    FEDGLM_ASSIGN_OR_RETURN(enrolment, Relay::Start(federation.enrolment_port(), nullptr));
    FEDGLM_ASSIGN_OR_RETURN(rounds, Relay::Start(federation.federation_port(), nullptr));
    for (const std::string& site : kSites)
      FEDGLM_RETURN_IF_ERROR(federation.AddSite(site, Records(site, 8), Records("held", 2)));
    return absl::OkStatus();
  }
  void StartNodes() {
    for (const std::string& site : kSites) ASSERT_TRUE(Done(federation.StartNode(site)));
  }
  bool Logged(const std::string& site, const std::string& text) const {
    return federation.NodeLog(site).find(text) != std::string::npos;
  }
  bool AggregatorLogged(const std::string& text) const {
    return federation.AggregatorLog().find(text) != std::string::npos;
  }

  // The site whose upload the relay holds: the other one's has come through.
  std::string HeldSite() {
    EXPECT_TRUE(WaitUntil([&] { return rounds->Holding(); }, kMoment)) << federation.AllLogs();
    std::string held;
    const auto known = [&] {
      for (size_t i = 0; i < kSites.size(); ++i) {
        if (Logged(kSites[i], "round 1: the update is in")) held = kSites[1 - i];
      }
      return !held.empty();
    };
    EXPECT_TRUE(WaitUntil(known, kMoment)) << federation.AllLogs();
    return held;
  }
  uint64_t Spooled() const {
    uint64_t bytes = 0;
    std::error_code error;
    for (std::filesystem::directory_iterator file(federation.AggregatorState() / "spool", error), end;
         !error && file != end; file.increment(error)) {
      bytes += std::filesystem::file_size(file->path(), error);
    }
    return error ? 0 : bytes;
  }
  uint64_t SentToAggregator() const {
    uint64_t bytes = 0;
    for (const RelayedConnection& connection : rounds->Recorded()) bytes += connection.to_aggregator.size();
    return bytes;
  }

  Federation federation;
  std::unique_ptr<Relay> enrolment, rounds;
};

// With it end its supervisor and its trainer: nobody is left to write into the folders of a node that is started again.
void KillNine(Process& process) {
  const std::vector<RunningProcess> children = DescendantsOf(process.pid());
  process.Signal(SIGKILL);
  EXPECT_EQ(process.Wait(), 128 + SIGKILL);
  for (const RunningProcess& child : children) {
    EXPECT_TRUE(WaitUntil([&] { return !IsRunning(child); }, kMoment)) << child.command << " outlives its node";
  }
}

bool HasTrainer(const Process& node) {
  for (const RunningProcess& process : DescendantsOf(node.pid())) {
    if (process.command == "fedglm-trainer") return true;
  }
  return false;
}

class Kill : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryDirectory(Get(TemporaryDirectory::Make("kill")));
    settings_ = new FederationSettings();
    settings_->model = GoldenPath("golden/glm4-tiny-q4_k_m.gguf");
    settings_->initial_adapter = folder_->path() / "initial";
    settings_->rounds = kRounds;
    settings_->training = "steps = 4\nbatch_tokens = 256\n";
    settings_->advertise = "127.0.0.2";
    const Outcome made = RunProgram(
        "fedglm", {"adapter", "init", "-m", settings_->model, "--out", settings_->initial_adapter, "--rank", "128"},
        folder_->path());
    ASSERT_EQ(made.status, 0) << made.err;
    Disturbed undisturbed(folder_->path() / "undisturbed", *settings_);
    ASSERT_TRUE(Done(undisturbed.Start()));
    undisturbed.StartNodes();
    ASSERT_TRUE(Done(undisturbed.federation.WaitForRound(kRounds)));
    undisturbed_ = WeightsSha256(Get(undisturbed.federation.InstalledAdapter(kSites[0])));
    update_bytes_ = undisturbed.SentToAggregator() / (kRounds * kSites.size());
    ASSERT_GT(update_bytes_, kInSecondChunk);
    undisturbed.federation.Stop();
  }
  static void TearDownTestSuite() {
    delete folder_;
    delete settings_;
  }

  void SetUp() override {
    ASSERT_FALSE(undisturbed_.empty());
    const std::string name = testing::UnitTest::GetInstance()->current_test_info()->name();
    disturbed_.emplace(folder_->path() / name, *settings_);
    ASSERT_TRUE(Done(disturbed_->Start()));
  }

  void TearDown() override {
    disturbed_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_->path() / testing::UnitTest::GetInstance()->current_test_info()->name(),
                                ignored);
  }

  // The same adapter at every site, and each update of each round in it once.
  void ExpectUndisturbedEnd() {
    Federation& federation = disturbed_->federation;
    ASSERT_TRUE(Done(federation.WaitForRound(kRounds)));
    for (const std::string& site : kSites) {
      const Adapter adapter = Get(federation.InstalledAdapter(site));
      EXPECT_EQ(WeightsSha256(adapter), undisturbed_) << site << federation.AllLogs();
      EXPECT_EQ(adapter.provenance->contributors.size(), kSites.size());
    }
    const Outcome shown =
        RunProgram("fedglm",
                   {"federation", "rounds", "--json", "--admin", federation.AggregatorState() / "admin", "--address",
                    "127.0.0.1:" + federation.federation_port()},
                   folder_->path());
    ASSERT_EQ(shown.status, 0) << shown.err;
    const Json rounds = Get(ParseJson(shown.out, "rounds"))["rounds"];
    ASSERT_EQ(rounds.size(), static_cast<size_t>(kRounds));
    for (const Json& round : rounds) EXPECT_EQ(round["accepted"], kSites.size()) << shown.out;
    federation.Stop();
  }

  Disturbed& disturbed() { return *disturbed_; }
  Federation& federation() { return disturbed_->federation; }
  Relay& relay() { return *disturbed_->rounds; }

  static TemporaryDirectory* folder_;
  static FederationSettings* settings_;
  static std::string undisturbed_;  // digest of the weights
  static uint64_t update_bytes_;    // about, with what is said around it
  std::optional<Disturbed> disturbed_;
};

TemporaryDirectory* Kill::folder_ = nullptr;
FederationSettings* Kill::settings_ = nullptr;
std::string Kill::undisturbed_;
uint64_t Kill::update_bytes_ = 0;

TEST_F(Kill, NodeBeforeTraining) {
  ASSERT_TRUE(Done(federation().StartNode("east")));
  ASSERT_TRUE(WaitUntil([&] { return federation().InstalledRound("east") == 0; }, kMoment)) << federation().AllLogs();
  KillNine(federation().node("east"));
  ASSERT_TRUE(Done(federation().StartNode("west")));  // the round may begin while one is dead
  ASSERT_TRUE(Done(federation().StartNode("east")));
  ExpectUndisturbedEnd();
}

TEST_F(Kill, NodeDuringTraining) {
  disturbed().StartNodes();
  const auto trains = [&] {
    return federation().InstalledRound("east") == 0 &&
           std::filesystem::exists(federation().SiteState("east") / "work" / "global") &&
           HasTrainer(federation().node("east"));
  };
  ASSERT_TRUE(WaitUntil(trains, kMoment)) << federation().AllLogs();
  KillNine(federation().node("east"));
  EXPECT_THAT(federation().NodeLog("east"), Not(HasSubstr("round 1: trained")));
  ASSERT_TRUE(Done(federation().StartNode("east")));
  ExpectUndisturbedEnd();
}

TEST_F(Kill, NodeDuringItsUpload) {
  relay().HoldAfter(kInSecondChunk);
  disturbed().StartNodes();
  const std::string held = disturbed().HeldSite();
  ASSERT_FALSE(held.empty());
  // The other's update has two chunks, and of this one's the first is on the aggregator's disk.
  ASSERT_TRUE(WaitUntil([&] { return disturbed().Spooled() >= update_bytes_ + kChunk - (64 << 10); }, kMoment))
      << disturbed().Spooled();
  KillNine(federation().node(held));
  relay().Release();
  ASSERT_TRUE(Done(federation().StartNode(held)));
  ExpectUndisturbedEnd();
  // What was trained waited in the outbox. It went on where it stopped: the first chunk went over the wire once.
  EXPECT_EQ(Count(federation().NodeLog(held), "round 1: trained"), 1);
  EXPECT_LT(disturbed().SentToAggregator(), kRounds * kSites.size() * update_bytes_ + kChunk / 2);
}

TEST_F(Kill, NodeAfterItsUploadBeforeItHears) {
  relay().HoldAnswersAfter(kInSecondChunk);
  disturbed().StartNodes();
  const std::string held = disturbed().HeldSite();
  ASSERT_FALSE(held.empty());
  ASSERT_TRUE(WaitUntil([&] { return disturbed().AggregatorLogged("round 1: update of " + held); }, kMoment))
      << federation().AllLogs();
  EXPECT_FALSE(disturbed().Logged(held, "round 1: the update is in"));
  EXPECT_FALSE(std::filesystem::is_empty(federation().SiteState(held) / "outbox"));
  KillNine(federation().node(held));
  relay().Release();
  ASSERT_TRUE(Done(federation().StartNode(held)));
  ExpectUndisturbedEnd();
  EXPECT_EQ(Count(federation().NodeLog(held), "round 1: trained"), 1);
}

TEST_F(Kill, AggregatorDuringAnUpload) {
  relay().HoldAfter(kInSecondChunk);
  disturbed().StartNodes();
  ASSERT_FALSE(disturbed().HeldSite().empty());
  ASSERT_TRUE(WaitUntil([&] { return disturbed().Spooled() >= update_bytes_ + kChunk - (64 << 10); }, kMoment))
      << disturbed().Spooled();
  KillNine(federation().aggregator());
  relay().Release();
  ASSERT_TRUE(Done(federation().StartAggregator()));
  ExpectUndisturbedEnd();
  EXPECT_THAT(federation().AggregatorLog(), HasSubstr("going on with round 1"));
  EXPECT_LT(disturbed().SentToAggregator(), kRounds * kSites.size() * update_bytes_ + kChunk / 2);
}

// Killed when the file of a round's adapter appears, before the round is marked done in the store.
TEST_F(Kill, AggregatorDuringAggregation) {
  const int watch = inotify_init1(IN_CLOEXEC);
  ASSERT_GE(inotify_add_watch(watch, (federation().AggregatorState() / "artifacts").c_str(), IN_CREATE), 0);
  disturbed().StartNodes();
  for (int round = 1; round <= kRounds; ++round) {
    pollfd wait = {watch, POLLIN, 0};
    ASSERT_EQ(poll(&wait, 1, 60000), 1) << federation().AllLogs();
    federation().aggregator().Signal(SIGKILL);
    EXPECT_EQ(federation().aggregator().Wait(), 128 + SIGKILL);
    ASSERT_TRUE(Done(federation().StartAggregator()));
    if (disturbed().AggregatorLogged("going on with round " + std::to_string(round))) break;  // it was in time
    ASSERT_LT(round, kRounds) << "the kill came too late in every round";
    char events[4096];
    EXPECT_GT(read(watch, events, sizeof(events)), 0);
  }
  close(watch);
  ExpectUndisturbedEnd();
}

TEST_F(Kill, NodeDuringInstall) {
  disturbed().StartNodes();
  const auto installs = [&] {
    return disturbed().AggregatorLogged("round 1 is done") && federation().InstalledRound("west") == 0 &&
           std::filesystem::exists(federation().SiteState("west") / "work" / "candidate");
  };
  ASSERT_TRUE(WaitUntil(installs, kMoment)) << federation().AllLogs();
  KillNine(federation().node("west"));
  EXPECT_EQ(federation().InstalledRound("west"), 0);
  ASSERT_TRUE(Done(federation().StartNode("west")));
  ExpectUndisturbedEnd();
}

}  // namespace
}  // namespace fedglm
