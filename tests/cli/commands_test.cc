// The program as a user meets it: exit codes, one clear line on stderr, nothing left half-written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>

#include "adapter/training_plan.h"
#include "base/file.h"
#include "base/json.h"
#include "base/process.h"
#include "tests/support/golden.h"
#include "tests/support/scoped_variable.h"
#include "tests/support/source_tree.h"
#include "tests/support/tiny_model.h"
#include "tests/support/wait_until.h"

namespace fedglm {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct Outcome {
  int status = -1;
  std::string out, err;
};

class Commands : public testing::Test {
 protected:
  void SetUp() override {
    folder_.emplace(*TemporaryDirectory::Make("commands"));
    model_ = Path("model.gguf");
    std::filesystem::copy_file(GoldenPath("golden/glm4-tiny-q4_k_m.gguf"), model_);
    ASSERT_TRUE(WriteFileAtomically(Path("text"), "some words to measure, and some more of them").ok());
  }

  std::string Path(const std::string& name) const { return (folder_->path() / name).string(); }

  SpawnOptions Options(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), ProgramPath("fedglm"));
    SpawnOptions options;
    options.arguments = std::move(arguments);
    options.environment = {"XDG_CACHE_HOME=" + Path("cache")};
    options.stdout_file = Path("stdout");
    options.stderr_file = Path("stderr");
    return options;
  }

  Outcome Run(std::vector<std::string> arguments) {
    std::filesystem::remove(Path("stdout"));
    std::filesystem::remove(Path("stderr"));
    absl::StatusOr<Process> process = Process::Spawn(Options(std::move(arguments)));
    EXPECT_TRUE(process.ok()) << Message(process.status());
    Outcome outcome;
    if (!process.ok()) return outcome;
    const std::optional<int> status = process->WaitFor(std::chrono::seconds(60));
    EXPECT_TRUE(status.has_value()) << "it does not end";
    outcome.status = status.value_or(-1);
    outcome.out = *ReadFile(Path("stdout"));
    outcome.err = *ReadFile(Path("stderr"));
    return outcome;
  }

  // Fails with `status` and one line on stderr that begins as every message of the program does.
  void Refused(std::vector<std::string> arguments, ExitCode status, const std::string& because = "") {
    std::string shown;
    for (const std::string& argument : arguments) shown += argument + " ";
    const Outcome outcome = Run(std::move(arguments));
    EXPECT_EQ(outcome.status, static_cast<int>(status)) << shown << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << shown << outcome.err;
    EXPECT_THAT(outcome.err, StartsWith("fedglm: ")) << shown;
    EXPECT_THAT(outcome.err, HasSubstr(because)) << shown;
    EXPECT_EQ(outcome.out, "") << shown;
  }

  // Every command that opens a model, with that one.
  std::vector<std::vector<std::string>> WithModel(const std::string& model) const {
    const std::string lora = GoldenPath("golden/glm4-tiny-lora").string();
    return {{"generate", "-m", model, "-p", "x", "-n", "2"},
            {"chat", "-m", model, "-p", "x", "-n", "2"},
            {"tokenize", "-m", model, "-p", "x"},
            {"logits", "-m", model, "--tokens", "1,2", "--out", Path("out")},
            {"perplexity", "-m", model, "-f", Path("text")},
            {"bench", "-m", model, "-p", "4", "-n", "1", "-r", "1"},
            {"inspect", model},
            {"quantize", model, Path("out"), "Q4_0"},
            {"adapter", "init", "-m", model, "--out", Path("new")},
            {"adapter", "export-gguf", lora, Path("out"), "-m", model},
            {"adapter", "merge", lora, Path("out"), "-m", model}};
  }

  std::optional<TemporaryDirectory> folder_;
  std::string model_;
};

TEST_F(Commands, WorkOnAGoodModel) {
  for (std::vector<std::string> command : WithModel(model_)) {
    const Outcome outcome = Run(command);
    EXPECT_EQ(outcome.status, 0) << command[0] << ": " << outcome.err;
  }
}

TEST_F(Commands, AnInstructionSetThatCannotBeHadIsThree) {
  for (const char* const name : {"avx3", "neon", "avx2"}) {  // no machine has both of the last two
    const ScopedVariable variable("FEDGLM_ISA", name);
    if (Run({"tokenize", "-m", model_, "-p", "x"}).status == 0) continue;
    for (const std::vector<std::string>& command : WithModel(model_)) {
      Refused(command, ExitCode::kConfiguration, "FEDGLM_ISA: ");
      Refused(command, ExitCode::kConfiguration, "this machine has: scalar");
    }
  }
  const ScopedVariable variable("FEDGLM_ISA", "avx3");
  Refused({"tokenize", "-m", model_, "-p", "x"}, ExitCode::kConfiguration, "'avx3' is not an instruction set");
  EXPECT_EQ(Run({"--help"}).status, 0);
}

TEST_F(Commands, ExplainMemoryPrintsThePlanAndEnds) {
  for (const char* const command : {"generate", "chat", "serve", "bench"}) {
    const Outcome table = Run({command, "-m", model_, "--explain-memory"});
    EXPECT_EQ(table.status, 0) << command << ": " << table.err;
    EXPECT_THAT(table.out, StartsWith("pinned weights")) << command;
    const Outcome data = Run({command, "-m", model_, "--explain-memory", "--json", "--memory-budget", "2GiB"});
    const absl::StatusOr<Json> plan = ParseJson(data.out, command);
    ASSERT_TRUE(plan.ok()) << data.out << data.err;
    EXPECT_EQ((*plan)["budget_bytes"], uint64_t{2} << 30);
    uint64_t sum = 0;
    for (const Json& bytes : (*plan)["accounts"]) sum += bytes.get<uint64_t>();
    EXPECT_EQ((*plan)["planned_bytes"], sum);
    EXPECT_EQ((*plan)["streamed_bytes_per_pass"], 0);
    EXPECT_EQ((*plan)["accounts"]["adapters_bytes"], 0);
    EXPECT_GT((*plan)["tokens_per_second"], 0);
  }
  const Outcome small = Run({"generate", "-m", model_, "--explain-memory", "--memory-budget", "1MiB"});
  EXPECT_EQ(small.status, 1);
  EXPECT_THAT(small.err, HasSubstr("the model needs"));
  EXPECT_EQ(small.out, "");
}

TEST_F(Commands, ExplainMemorySetsRoomAsideForAdapters) {
  const std::string lora = GoldenPath("golden/glm4-tiny-lora").string();
  const auto adapter_bytes = [&](std::vector<std::string> command) {
    for (const char* flag : {"-m", model_.c_str(), "--explain-memory", "--json"}) command.push_back(flag);
    const Outcome outcome = Run(command);
    const absl::StatusOr<Json> plan = ParseJson(outcome.out, command[0]);
    EXPECT_TRUE(plan.ok()) << outcome.out << outcome.err;
    return plan.ok() ? (*plan)["accounts"]["adapters_bytes"].get<uint64_t>() : 0;
  };
  const uint64_t one = adapter_bytes({"generate", "--adapter", lora});
  EXPECT_GT(one, 0u);
  EXPECT_EQ(adapter_bytes({"serve", "--serve-adapter", "a=" + lora}), one);
  EXPECT_EQ(adapter_bytes({"serve", "--adapter", lora, "--serve-adapter", "a=" + lora}), one / 2 * 3);
  Refused({"serve", "-m", model_, "--serve-adapter", "a", "--explain-memory"}, ExitCode::kUsage, "NAME=PATH");
  Refused({"generate", "-m", model_, "--adapter", Path("missing"), "--explain-memory"}, ExitCode::kBadInputFile);
}

TEST_F(Commands, BadModelsAreSix) {
  ASSERT_TRUE(WriteFileAtomically(Path("empty"), "").ok());
  ASSERT_TRUE(WriteFileAtomically(Path("junk"), std::string(5000, 'j')).ok());
  const std::string whole = *ReadFile(model_);
  ASSERT_TRUE(WriteFileAtomically(Path("truncated"), whole.substr(0, whole.size() / 2)).ok());
  ASSERT_EQ(::mkfifo(Path("pipe").c_str(), 0600), 0);
  for (const char* name : {"missing", "empty", "junk", "truncated", "pipe", "cache/.."}) {
    for (const std::vector<std::string>& command : WithModel(Path(name))) Refused(command, ExitCode::kBadInputFile);
  }
  EXPECT_FALSE(std::filesystem::exists(Path("out")));
}

TEST_F(Commands, AnUnknownArchitectureIsNamed) {
  TinyModel model("llama");
  model.architecture = "mamba";
  model.Write(Path("mamba.gguf"));
  Refused({"logits", "-m", Path("mamba.gguf"), "--tokens", "1", "--out", Path("out")}, ExitCode::kBadInputFile,
          "'mamba'");
}

TEST_F(Commands, InspectNamesEveryArchitecture) {
  for (const char* name : ArchitectureNames()) {
    TinyModel(name).Write(Path("tiny.gguf"));
    const absl::StatusOr<Json> shown = ParseJson(Run({"inspect", Path("tiny.gguf"), "--json"}).out, "stdout");
    ASSERT_TRUE(shown.ok()) << Message(shown.status());
    EXPECT_EQ((*shown)["architecture"]["name"], name);
  }
}

TEST_F(Commands, AModelWithoutVocabularyComputesLogitsButNoText) {
  TinyModel("llama").Write(Path("mute.gguf"));
  EXPECT_EQ(Run({"logits", "-m", Path("mute.gguf"), "--tokens", "1,2,3", "--out", Path("out")}).status, 0);
  EXPECT_EQ(std::filesystem::file_size(Path("out")), 3 * TinyModel::kVocabulary * sizeof(float));
  Refused({"generate", "-m", Path("mute.gguf"), "-p", "x"}, ExitCode::kBadInputFile, "no vocabulary");
}

TEST_F(Commands, AdaptersOfOtherBasesAreSix) {
  const std::vector<std::string> logits = {"logits", "-m", model_, "--tokens", "1", "--out", Path("out"), "--adapter"};
  const auto with = [&](const std::string& adapter) {
    std::vector<std::string> command = logits;
    command.push_back(adapter);
    return command;
  };
  Refused(with(Path("missing")), ExitCode::kBadInputFile);
  Refused(with(model_), ExitCode::kBadInputFile, "not a LoRA adapter");
  TinyModel("glm4").Write(Path("other.gguf"));
  for (const char* form : {"golden/glm4-tiny-lora", "golden/glm4-tiny-lora.gguf"}) {
    Refused({"logits", "-m", Path("other.gguf"), "--tokens", "1", "--out", Path("out"), "--adapter",
             GoldenPath(form).string()},
            ExitCode::kBadInputFile, "another shape");
  }
  // Same shapes, another file: the provenance tells, also after an export.
  const std::string folder = Path("lora"), exported = Path("lora.gguf");
  std::filesystem::copy(GoldenPath("golden/glm4-tiny-lora"), folder, std::filesystem::copy_options::recursive);
  ASSERT_EQ(Run({"adapter", "init", "-m", model_, "--out", Path("fresh")}).status, 0);
  ASSERT_EQ(Run({"adapter", "export-gguf", Path("fresh"), exported, "-m", model_}).status, 0);
  const std::string renamed = Path("renamed.gguf");
  ASSERT_EQ(Run({"quantize", model_, renamed, "Q8_0"}).status, 0);
  for (const std::string& adapter : {Path("fresh"), exported}) {
    EXPECT_EQ(Run(with(adapter)).status, 0);
    Refused({"logits", "-m", renamed, "--tokens", "1", "--out", Path("out"), "--adapter", adapter},
            ExitCode::kBadInputFile, "another base");
  }
}

TEST_F(Commands, WrongUsageIsTwo) {
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"frobnicate"},
      {"generate", "-p", "x"},
      {"generate", "-m", model_},
      {"generate", "-m", model_, "-p", "x", "-f", "y"},
      {"generate", "-m", model_, "-p", "x", "--temp", "nan"},
      {"generate", "-m", model_, "-p", "x", "--temp", "-1"},
      {"generate", "-m", model_, "-p", "x", "--top-p", "1.5"},
      {"generate", "-m", model_, "-p", "x", "--min-p", "NaN"},
      {"generate", "-m", model_, "-p", "x", "--memory-budget", "lots"},
      {"logits", "-m", model_, "--tokens", "", "--out", Path("out")},
      {"logits", "-m", model_, "--tokens", "1,x", "--out", Path("out")},
      {"logits", "-m", model_, "--tokens", "512", "--out", Path("out")},
      {"logits", "-m", model_, "--tokens", "-1", "--out", Path("out")},
      {"logits", "-m", model_, "--tokens", "1,2,3", "-c", "2", "--out", Path("out")},
      {"perplexity", "-m", model_, "-f", Path("text"), "-c", "1"},
      {"quantize", model_, Path("out"), "Q9"},
      {"import", model_, Path("out"), "--type", "Q9"},
      {"adapter", "merge", GoldenPath("golden/glm4-tiny-lora").string(), Path("out"), "-m", model_, "--type", "Q9"}};
  for (const std::vector<std::string>& command : wrong) Refused(command, ExitCode::kUsage);
  Refused({"frobnicate"}, ExitCode::kUsage, "there is no command \"frobnicate\" (see fedglm --help)");
  Refused({"adapter", "frobnicate"}, ExitCode::kUsage, "no command \"frobnicate\" (see fedglm adapter --help)");
  Refused({"generate", "-p", "x"}, ExitCode::kUsage, "--model is required (see fedglm generate --help)");
  Refused({"generate", "-m", model_, "-p", "x", "-n", "-1"}, ExitCode::kUsage, "--max-tokens: -1 is not above 0");
  EXPECT_FALSE(std::filesystem::exists(Path("out")));
}

TEST_F(Commands, NoInputIsOverwritten) {
  const std::string before = *ReadFile(model_), lora = GoldenPath("golden/glm4-tiny-lora").string();
  std::filesystem::create_symlink(model_, Path("link.gguf"));
  for (const std::string& out : {model_, Path("link.gguf"), Path("cache/../model.gguf")}) {
    std::filesystem::create_directories(Path("cache"));
    Refused({"quantize", model_, out, "Q8_0"}, ExitCode::kUsage);
    Refused({"logits", "-m", model_, "--tokens", "1", "--out", out}, ExitCode::kUsage);
    Refused({"adapter", "merge", lora, out, "-m", model_}, ExitCode::kUsage);
    Refused({"adapter", "export-gguf", lora, out, "-m", model_}, ExitCode::kUsage);
  }
  EXPECT_EQ(*ReadFile(model_), before);
}

TEST_F(Commands, OutputsThatCannotBeWrittenAreOne) {
  const std::string lora = GoldenPath("golden/glm4-tiny-lora").string();
  ASSERT_EQ(::mkfifo(Path("pipe").c_str(), 0600), 0);
  for (const std::string& out : {Path("none/out"), Path("text/out"), Path("pipe"), folder_->path().string()}) {
    Refused({"logits", "-m", model_, "--tokens", "1", "--out", out}, ExitCode::kFailed);
    Refused({"quantize", model_, out, "Q8_0"}, ExitCode::kFailed);
    Refused({"adapter", "merge", lora, out, "-m", model_}, ExitCode::kFailed);
    Refused({"adapter", "export-gguf", lora, out, "-m", model_}, ExitCode::kFailed);
  }
  EXPECT_TRUE(std::filesystem::is_fifo(Path("pipe")));
}

TEST_F(Commands, AStdoutThatIsFullIsOne) {
  for (const std::vector<std::string>& command : {std::vector<std::string>{"inspect", model_, "--tensors"},
                                                  {"--help"},
                                                  {"tokenize", "-m", model_, "-p", "x"},
                                                  {"generate", "-m", model_, "-p", "x", "-n", "50", "--seed", "1"},
                                                  {"perplexity", "-m", model_, "-f", Path("text")}}) {
    SpawnOptions options = Options(command);
    options.stdout_file = "/dev/full";
    absl::StatusOr<Process> process = Process::Spawn(options);
    ASSERT_TRUE(process.ok());
    EXPECT_EQ(process->Wait(), 1) << command[0];
    EXPECT_THAT(*ReadFile(Path("stderr")), HasSubstr("fedglm: cannot write to stdout")) << command[0];
  }
}

TEST_F(Commands, NamesInMessagesStayOnOneLine) {
  Refused({"inspect", Path("two\nlines\x1b[2J")}, ExitCode::kBadInputFile, "two lines [2J");
}

TEST_F(Commands, InterruptedLogitsLeaveNothingAndSaySo) {
  std::string tokens = "1";
  for (int i = 1; i < 8000; ++i) tokens += ",1";
  absl::StatusOr<Process> process = Process::Spawn(
      Options({"logits", "-m", model_, "--tokens", tokens, "--out", Path("out"), "-t", "1", "-c", "8192"}));
  ASSERT_TRUE(process.ok());
  const auto begun = [&] {  // its temporary file is there
    for (const auto& entry : std::filesystem::directory_iterator(folder_->path())) {
      if (entry.path().filename().string().rfind("out.", 0) == 0) return true;
    }
    return false;
  };
  ASSERT_TRUE(WaitUntil(begun));
  process->Signal(SIGINT);
  EXPECT_EQ(process->Wait(), 1);
  EXPECT_EQ(*ReadFile(Path("stderr")), "fedglm: stopped\n");
  EXPECT_FALSE(begun());
  EXPECT_FALSE(std::filesystem::exists(Path("out")));
}

TEST_F(Commands, EveryHyperparameterIsAFlagWithItsRange) {
  const Json plan = ToJson(TrainingPlan());
  for (const char* command : {"train", "pretrain", "demo"}) {
    const Outcome help = Run({command, "--help"});
    EXPECT_EQ(help.status, 0);
    for (const auto& [key, value] : plan.items()) {
      std::string flag = "--" + key;
      std::replace(flag.begin(), flag.end(), '_', '-');
      EXPECT_THAT(help.out, HasSubstr("  " + flag + " ")) << command;
    }
  }
  Refused({"demo", "--optimizer", "lion"}, ExitCode::kUsage, "--optimizer");
  Refused({"demo", "--steps", "0"}, ExitCode::kUsage, "--steps");
  Refused({"demo", "--sequence-length", "7"}, ExitCode::kUsage, "--sequence-length");
  Refused({"demo", "--learning-rate", "nan"}, ExitCode::kUsage, "--learning-rate");
  Refused({"demo", "--beta1", "1"}, ExitCode::kUsage, "--beta1");
}

}  // namespace
}  // namespace fedglm
