// The process that reads records: what it does, what it refuses, and what it cannot do.
#include "client/trainer_supervisor.h"

#include <gmock/gmock.h>
#include <signal.h>

#include "tests/client/small_site.h"
#include "tests/support/wait_until.h"

namespace fedglm {
namespace {

using testing::HasSubstr;

class SupervisorTest : public SmallSite {
 protected:
  void SetUp() override {
    SmallSite::SetUp();
    signal(SIGPIPE, SIG_IGN);  // as HandleStopSignals() does in a node
  }
  static TrainingJob Job(const std::string& output) {
    TrainingJob job;
    job.kind = JobKind::kTrain;
    job.output = output;
    job.plan.steps = 1;
    job.plan.batch_tokens = 64;
    job.plan.sequence_length = 64;
    job.adapter_config.rank = 2;
    return job;
  }
  static pid_t OnlyChild(pid_t parent) {
    const std::set<pid_t> children = Children(parent, "--supervise");
    EXPECT_EQ(children.size(), 1u);
    return children.empty() ? 0 : *children.begin();
  }
  static pid_t KeeperPid() { return OnlyChild(getpid()); }
  static pid_t PidOf() { return OnlyChild(KeeperPid()); }
};

TEST_F(SupervisorTest, IsReadyWithTheCountsOfRecords) {
  WriteRecords("more.jsonl", "\n \r\n{\"text\":\"one\"}\n\n{\"text\":\"two, without an end of line\"}");
  SupervisorOptions options = Supervised();
  options.training_records.push_back(Path("more.jsonl"));
  const auto supervisor = Get(TrainerSupervisor::Start(options));
  EXPECT_EQ(supervisor->training_records(), 14);
  EXPECT_EQ(supervisor->held_out_records(), 3);
}

TEST_F(SupervisorTest, RecordsThatAreMissingOrEmptyAreABadInput) {
  SupervisorOptions options = Supervised();
  options.training_records.push_back(Path("missing.jsonl"));
  absl::Status status = TrainerSupervisor::Start(options).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kBadInputFile);
  EXPECT_THAT(Message(status), HasSubstr("missing.jsonl"));

  WriteRecords("empty.jsonl", " \n\n");
  options = Supervised();
  options.held_out_records = {Path("empty.jsonl")};
  status = TrainerSupervisor::Start(options).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kBadInputFile);
  EXPECT_THAT(Message(status), HasSubstr("empty.jsonl: holds no record"));

  options.held_out_records = {root_.path()};
  EXPECT_EQ(ExitCodeOf(TrainerSupervisor::Start(options).status()), ExitCode::kBadInputFile) << "a folder";
}

// The node, which a peer may have taken over, chooses how to train, never on what, nor where to.
TEST_F(SupervisorTest, AJobThatNamesAPathIsRefused) {
  const auto supervisor = Get(TrainerSupervisor::Start(Supervised()));
  for (const std::string& path : {Path("stolen").string(), std::string("../stolen"), std::string("a/b"),
                                  std::string(".."), std::string("."), std::string("result/"), std::string()}) {
    const absl::Status status = supervisor->Run(Job(path), {}, {}).status();
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kRefused) << path << ": " << Message(status);
    TrainingJob job = Job("result");
    job.adapter = path;
    if (path.empty()) continue;  // a new adapter
    EXPECT_EQ(ExitCodeOf(supervisor->Run(job, {}, {}).status()), ExitCode::kRefused) << path;
  }
  TrainingJob pretrain = Job("result");
  pretrain.kind = JobKind::kPretrain;
  EXPECT_EQ(ExitCodeOf(supervisor->Run(pretrain, {}, {}).status()), ExitCode::kRefused);
  EXPECT_FALSE(std::filesystem::exists(Path("stolen")));
  EXPECT_TRUE(std::filesystem::is_empty(Path("state/work")));
}

TEST_F(SupervisorTest, TwoJobsOneAfterTheOtherBothSucceedOnItsOwnRecords) {
  const auto supervisor = Get(TrainerSupervisor::Start(Supervised()));
  TrainingJob job = Job("result");
  job.records = {Path("missing.jsonl")};  // what the node says of records, model and network counts for nothing
  job.held_out = {Path("missing.jsonl")};
  job.model = Path("missing.gguf");
  job.forbid_network = false;
  int64_t records = 0;
  const auto first = supervisor->Run(job,
                                     [&](const TrainerEvent& event) {
                                       if (event.event == "started") records = event.records;
                                     },
                                     {});
  ASSERT_TRUE(first.ok()) << Message(first.status());
  EXPECT_EQ(records, 12);
  EXPECT_TRUE(LoadAdapter(Path("state/work/result")).ok());

  TrainingJob evaluate;
  evaluate.kind = JobKind::kEvaluate;
  evaluate.adapter = "result";
  evaluate.plan.sequence_length = 64;
  TrainerEvent evaluated;
  const auto second = supervisor->Run(evaluate,
                                      [&](const TrainerEvent& event) {
                                        if (event.event == "evaluated") evaluated = event;
                                      },
                                      {});
  ASSERT_TRUE(second.ok()) << Message(second.status());
  EXPECT_GT(evaluated.loss, 0);
  EXPECT_GT(evaluated.tokens, 0);
}

TEST_F(SupervisorTest, ACancelledJobEndsAndTheNextOneRuns) {
  const auto supervisor = Get(TrainerSupervisor::Start(Supervised()));
  TrainingJob endless = Job("result");
  endless.plan.steps = 1'000'000;
  bool stepped = false;
  Stopwatch since_step;
  const absl::Status status = supervisor
                                  ->Run(
                                      endless,
                                      [&](const TrainerEvent& event) {
                                        if (event.event == "step" && !stepped) {
                                          stepped = true;
                                          since_step = Stopwatch();
                                        }
                                      },
                                      [&] { return stepped; })
                                  .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled) << Message(status);
  EXPECT_LT(since_step.Seconds(), 60);  // of the hours that it would train
  EXPECT_FALSE(std::filesystem::exists(Path("state/work/result")));
  const auto next = supervisor->Run(Job("result"), {}, {});
  EXPECT_TRUE(next.ok()) << Message(next.status());
}

TEST_F(SupervisorTest, ARecordThatIsNoneIsNamedAndNotQuoted) {
  WriteRecords("records.jsonl", "{\"text\":\"fine\"}\n{\"text\": Mustermann}\n");
  const auto supervisor = Get(TrainerSupervisor::Start(Supervised()));
  const absl::Status status = supervisor->Run(Job("result"), {}, {}).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kBadInputFile);
  EXPECT_THAT(Message(status), HasSubstr("records.jsonl:2"));
  EXPECT_THAT(Message(status), testing::Not(HasSubstr("Mustermann")))
      << "the message reaches the process with the network";
}

TEST_F(SupervisorTest, HasNoNetwork) {
  const auto supervisor = Get(TrainerSupervisor::Start(Supervised()));
  const std::string process = "/proc/" + std::to_string(PidOf());
  std::ifstream status_file(process + "/status");
  const std::string status((std::istreambuf_iterator<char>(status_file)), {});
  EXPECT_THAT(status, HasSubstr("Seccomp:\t2\n")) << "a filter forbids sockets";
  for (const auto& descriptor : std::filesystem::directory_iterator(process + "/fd")) {
    std::error_code closed;
    EXPECT_THAT(std::filesystem::read_symlink(descriptor, closed).string(), testing::Not(HasSubstr("socket")));
  }
  const auto own = std::filesystem::read_symlink("/proc/self/ns/net");
  if (std::filesystem::read_symlink(process + "/ns/net") == own) GTEST_SKIP() << "no network namespaces here";
  std::ifstream devices(process + "/net/dev");
  const std::string interfaces((std::istreambuf_iterator<char>(devices)), {});
  EXPECT_EQ(std::count(interfaces.begin(), interfaces.end(), ':'), 1) << "the loopback, which is down: " << interfaces;
}

// A service manager sends SIGTERM to every process of the service; the node is the one that decides.
TEST_F(SupervisorTest, EndsWithTheNodeAndNotBefore) {
  auto supervisor = Get(TrainerSupervisor::Start(Supervised()));
  const pid_t pid = PidOf();
  kill(pid, SIGTERM);
  kill(pid, SIGINT);
  EXPECT_TRUE(supervisor->Run(Job("result"), {}, {}).ok());
  supervisor.reset();
  EXPECT_TRUE(WaitUntil([] { return Children(getpid(), "--supervise").empty(); }));
}

TEST_F(SupervisorTest, WithoutItsKeeperItEndsAndIsNotReplaced) {
  const auto supervisor = Get(TrainerSupervisor::Start(Supervised()));
  kill(KeeperPid(), SIGKILL);
  const absl::Status status = supervisor->Run(Job("result"), {}, {}).status();
  EXPECT_EQ(ExitCodeOf(status), ExitCode::kFailed);
}

// Killed while it waits, and while it trains: the job fails with it, the next one is done, and no event of the job
// before is taken for one of its own.
TEST_F(SupervisorTest, AKilledOneIsReplaced) {
  const auto supervisor = Get(TrainerSupervisor::Start(Supervised()));
  kill(PidOf(), SIGKILL);
  EXPECT_THAT(Message(supervisor->Run(Job("result"), {}, {}).status()), HasSubstr("was killed"));
  TrainingJob longer = Job("longer");
  longer.plan.steps = 100000;
  const auto kill_it = [&](const TrainerEvent& event) {
    if (event.event == "step" && event.step == 1) kill(PidOf(), SIGKILL);
  };
  EXPECT_THAT(Message(supervisor->Run(longer, kill_it, {}).status()), HasSubstr("was killed"));
  int64_t steps = 0;
  const auto count = [&](const TrainerEvent& event) { steps = std::max(steps, event.steps); };
  ASSERT_TRUE(supervisor->Run(Job("result"), count, {}).ok());
  EXPECT_EQ(steps, 1) << "of its own job";
}

}  // namespace
}  // namespace fedglm
