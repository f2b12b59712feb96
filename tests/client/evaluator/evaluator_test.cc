// fedglm-evaluator as a process: one job in, events out, exit code; and what it can no longer do while it runs.
#include <gmock/gmock.h>
#include <linux/landlock.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>

#include "adapter/event_stream.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/process.h"
#include "client/evaluator/evaluation.h"
#include "tests/support/source_tree.h"
#include "tests/training/tiny_models.h"

namespace fedglm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

struct Ended {
  int exit_code = -1;
  std::vector<TrainerEvent> events;
  std::vector<std::string> names;
};

class Evaluator : public testing::Test {
 protected:
  void SetUp() override {
    GOLDEN_OR_SKIP(model, kGoldenModel);
    GOLDEN_OR_SKIP(lora, kGoldenLora);
    job_.kind = JobKind::kEvaluate;
    job_.model = model;
    job_.adapter = lora;
    job_.records = {Write("held-out.jsonl", SomeRecords(5))};
    job_.plan.sequence_length = 64;
    job_.threads = 1;
  }
  std::filesystem::path Path(const std::string& name) const { return root_->path() / name; }
  std::filesystem::path Write(const std::string& name, const std::string& text) const {
    EXPECT_TRUE(WriteFileAtomically(Path(name), text).ok());
    return Path(name);
  }
  Process Start(const std::string& job) const {
    SpawnOptions options;
    options.arguments = {ProgramPath("fedglm-evaluator"), "--events", std::to_string(kEventsDescriptor)};
    options.stderr_file = Path("log");
    options.pipe_stdin = options.pipe_events = true;
    absl::StatusOr<Process> process = Process::Spawn(options);
    EXPECT_TRUE(process.ok()) << Message(process.status());
    EXPECT_TRUE(process->Write(job).ok());
    process->CloseStdin();
    return *std::move(process);
  }
  Process Start() const { return Start(DumpJson(ToJson(job_)) + "\n"); }
  static Ended Finish(Process process) {
    Ended ended;
    for (auto line = process.ReadLine(); line.ok() && line->has_value(); line = process.ReadLine()) {
      const absl::StatusOr<TrainerEvent> event = ParseTrainerEvent(**line);
      EXPECT_TRUE(event.ok()) << **line;
      if (!event.ok()) continue;
      ended.events.push_back(*event);
      ended.names.push_back(event->event);
    }
    ended.exit_code = process.Wait();
    return ended;
  }
  void ExpectFailure(ExitCode code, const std::string& says) const {
    const Ended ended = Finish(Start());
    EXPECT_EQ(ended.exit_code, static_cast<int>(code));
    ASSERT_THAT(ended.names, ElementsAre("failed"));
    EXPECT_EQ(ended.events[0].exit_code, static_cast<int>(code));
    EXPECT_THAT(ended.events[0].message, HasSubstr(says));
  }

  const absl::StatusOr<TemporaryDirectory> root_ = TemporaryDirectory::Make("fedglm-evaluator");
  TrainingJob job_;
};

TEST_F(Evaluator, TellsTheLossOfTheAdapterOnTheRecords) {
  const Ended ended = Finish(Start());
  EXPECT_EQ(ended.exit_code, 0);
  ASSERT_THAT(ended.names, ElementsAre("started", "evaluated", "done"));
  EXPECT_EQ(ended.events[0].records, 5);
  EXPECT_GT(ended.events[0].tokens, 0);
  EXPECT_EQ(ended.events[1].tokens, ended.events[0].tokens);
  EXPECT_EQ(ended.events[2].loss, ended.events[1].loss);
  EXPECT_GT(ended.events[2].peak_rss_bytes, 0u);
  // As the engine says in this process, and another one than the base's.
  EngineOptions options;
  options.threads = 1;
  options.context = job_.plan.sequence_length;
  const absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Open(job_.model, options);
  ASSERT_TRUE(engine.ok()) << Message(engine.status());
  const absl::StatusOr<ExampleSet> set =
      LoadExamples(job_.records, (*engine)->tokenizer(), (*engine)->chat_template(), job_.plan.sequence_length);
  ASSERT_TRUE(set.ok()) << Message(set.status());
  const double base = EvaluateExamples(**engine, *set, {})->mean();
  ASSERT_TRUE((*engine)->SetAdapter(std::make_shared<const Adapter>(*LoadAdapter(job_.adapter))).ok());
  EXPECT_EQ(ended.events[1].loss, EvaluateExamples(**engine, *set, {})->mean());
  EXPECT_NE(ended.events[1].loss, base);
  job_.adapter.clear();
  EXPECT_EQ(Finish(Start()).events.at(1).loss, base);
}

TEST_F(Evaluator, WhatIsNoJobOfItsIsAUsageError) {
  EXPECT_EQ(Finish(Start("")).exit_code, 2);
  EXPECT_EQ(Finish(Start("not json\n")).exit_code, 2);
  job_.kind = JobKind::kTrain;
  job_.output = Path("adapter");
  ExpectFailure(ExitCode::kUsage, "does not train");
}

TEST_F(Evaluator, AFaultArrivesWithItsKindAndNamesTheFile) {
  const TrainingJob good = job_;
  job_.model = Path("missing.gguf");
  ExpectFailure(ExitCode::kBadInputFile, "missing.gguf");
  job_ = good;
  job_.records = {Write("bad.jsonl", "{\"text\":\"fine\"}\n{\"text\": Mustermann}\n")};
  ExpectFailure(ExitCode::kBadInputFile, "bad.jsonl:2");
  const Ended ended = Finish(Start());
  EXPECT_THAT(ended.events.at(0).message + ReadFile(Path("log")).value_or(""), Not(HasSubstr("Mustermann")));
  job_ = good;
  job_.adapter = Path("missing");
  ExpectFailure(ExitCode::kBadInputFile, "missing");
}

TEST_F(Evaluator, AnAdapterOfAnotherBaseIsRefused) {
  Adapter adapter = *LoadAdapter(job_.adapter);
  adapter.provenance = Provenance{Sha256Hex("another base")};
  job_.adapter = Path("foreign");
  ASSERT_TRUE(SaveAdapter(adapter, job_.adapter).ok());
  job_.base_sha256 = Sha256Hex("this base");
  const Ended ended = Finish(Start());
  ASSERT_THAT(ended.names, ElementsAre("failed"));
  EXPECT_THAT(ended.events[0].message, HasSubstr("base"));
}

// Held in the midst of its work, behind its walls.
TEST_F(Evaluator, HasNoNetworkWhileItReadsRecords) {
  job_.records = {Write("many.jsonl", SomeRecords(3000))};
  Process process = Start();
  const auto started = process.ReadLineFor(std::chrono::seconds(60));
  process.Signal(SIGSTOP);
  ASSERT_TRUE(started.ok() && started->has_value());
  EXPECT_THAT(**started, HasSubstr("started"));
  const std::string folder = "/proc/" + std::to_string(process.pid());
  std::ifstream file(folder + "/status");
  const std::string status((std::istreambuf_iterator<char>(file)), {});
  EXPECT_THAT(status, HasSubstr("Seccomp:\t2"));
  EXPECT_THAT(status, HasSubstr("NoNewPrivs:\t1"));
  for (const auto& entry : std::filesystem::directory_iterator(folder + "/fd")) {
    std::error_code ignored;
    EXPECT_THAT(std::filesystem::read_symlink(entry, ignored).string(), Not(HasSubstr("socket")));
  }
}

// The folder of the adapter is named by the job, what its files link to is not.
TEST_F(Evaluator, CannotReadWhatItsJobDoesNotName) {
  if (syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION) < 1) {
    GTEST_SKIP() << "this kernel has no Landlock";
  }
  std::filesystem::copy(job_.adapter, Path("adapter"));
  job_.adapter = Path("adapter");
  const std::filesystem::path config = Path("adapter/adapter_config.json");
  std::filesystem::rename(config, Path("adapter/inside.json"));
  std::filesystem::create_symlink(Path("adapter/inside.json"), config);
  EXPECT_EQ(Finish(Start()).exit_code, 0);
  std::filesystem::rename(Path("adapter/inside.json"), Path("outside.json"));
  std::filesystem::remove(config);
  std::filesystem::create_symlink(Path("outside.json"), config);
  ExpectFailure(ExitCode::kFailed, "Permission denied");
}

}  // namespace
}  // namespace fedglm
