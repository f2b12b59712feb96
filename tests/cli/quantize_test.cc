// fedglm quantize and fedglm import as a user meets them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>

#include "base/file.h"
#include "base/json.h"
#include "base/process.h"
#include "tests/inference/import/checkpoint_folder.h"
#include "tests/support/golden.h"
#include "tests/support/source_tree.h"

namespace fedglm {
namespace {

using testing::HasSubstr;

struct Outcome {
  int status = -1;
  std::string out, err;
};

class QuantizeCommand : public testing::Test {
 protected:
  void SetUp() override { folder_.emplace(*TemporaryDirectory::Make("quantize")); }

  std::string Path(const std::string& name) const { return (folder_->path() / name).string(); }
  static std::string Program() { return ProgramPath("fedglm"); }

  Outcome Start(std::vector<std::string> arguments) {
    SpawnOptions options;
    options.arguments = std::move(arguments);
    options.environment = {"XDG_CACHE_HOME=" + Path("cache")};
    options.stdout_file = Path("stdout");
    options.stderr_file = Path("stderr");
    absl::StatusOr<Process> process = Process::Spawn(options);
    EXPECT_TRUE(process.ok()) << Message(process.status());
    Outcome outcome;
    if (!process.ok()) return outcome;
    outcome.status = process->WaitFor(std::chrono::seconds(120)).value_or(-1);
    outcome.out = *ReadFile(Path("stdout"));
    outcome.err = *ReadFile(Path("stderr"));
    return outcome;
  }
  Outcome Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), Program());
    return Start(std::move(arguments));
  }

  // Files in the folder whose names begin as that of an output: also temporary ones beside it.
  int Left(const std::string& stem) const {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder_->path())) {
      count += entry.path().filename().string().find(stem) != std::string::npos ? 1 : 0;
    }
    return count;
  }

  std::optional<TemporaryDirectory> folder_;
};

TEST_F(QuantizeCommand, ReportsWhatItMade) {
  GOLDEN_OR_SKIP(model, "golden/glm4-tiny-f32.gguf");
  const Outcome outcome = Run({"quantize", model.string(), Path("out.gguf"), "q4_k", "-t", "2", "--json"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  const Json report = *ParseJson(outcome.out, "stdout");
  EXPECT_EQ(report["version"], 1);
  EXPECT_EQ(report["type"], "Q4_K_M");
  EXPECT_EQ(report["bytes_out"], std::filesystem::file_size(Path("out.gguf")));
  EXPECT_EQ(report["calibrated"], false);
  EXPECT_GT(report["tensors"]["Q4_K"], 5);
  EXPECT_GT(report["tensors"]["Q6_K"], 0);
  EXPECT_GT(report["bits_per_weight"], 4.5);
  EXPECT_LT(report["bits_per_weight"], 6);
}

TEST_F(QuantizeCommand, CalibratesOnAText) {
  const std::string model = SourceFolder().string() + "/examples/hospital/glm4-hospital.gguf";
  const std::string text = "[gMASK]<sop><|user|>\nThe lungs are clear.<|assistant|>\nNormal.";
  ASSERT_TRUE(WriteFileAtomically(Path("text"), text).ok());
  ASSERT_EQ(Run({"quantize", model, Path("plain.gguf"), "Q4_1", "-t", "1"}).status, 0);
  const Outcome outcome =
      Run({"quantize", model, Path("out.gguf"), "Q4_1", "--calibration", Path("text"), "-t", "1", "--json"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ((*ParseJson(outcome.out, "stdout"))["calibrated"], true);
  EXPECT_NE(*ReadFile(Path("plain.gguf")), *ReadFile(Path("out.gguf")));
  EXPECT_EQ(std::filesystem::file_size(Path("plain.gguf")), std::filesystem::file_size(Path("out.gguf")));
  const std::string record = R"({"messages":[{"role":"user","content":"The lungs are clear."},{"role":"assistant",)"
                             R"("content":"Normal."}]})";
  ASSERT_TRUE(WriteFileAtomically(Path("records.jsonl"), record + "\n").ok());
  ASSERT_EQ(Run({"quantize", model, Path("by-records.gguf"), "Q4_1", "--calibration", Path("records.jsonl"), "-t", "1"})
                .status,
            0);
  // The same bytes under a name that does not say that they are records are read as text, braces and all.
  ASSERT_TRUE(WriteFileAtomically(Path("text"), record + "\n").ok());
  ASSERT_EQ(Run({"quantize", model, Path("by-text.gguf"), "Q4_1", "--calibration", Path("text"), "-t", "1"}).status, 0);
  EXPECT_NE(*ReadFile(Path("by-records.gguf")), *ReadFile(Path("by-text.gguf")));
  EXPECT_EQ(Run({"quantize", model, Path("none.gguf"), "Q4_1", "--calibration", Path("nothing")}).status, 6);
  ASSERT_TRUE(WriteFileAtomically(Path("records.jsonl"), "no record\n").ok());
  EXPECT_EQ(Run({"quantize", model, Path("none.gguf"), "Q4_1", "--calibration", Path("records.jsonl")}).status, 6);
  EXPECT_EQ(Left("none.gguf"), 0);
}

TEST_F(QuantizeCommand, CalibrationKeepsToItsMemoryBudget) {
  const std::string model = SourceFolder().string() + "/examples/hospital/glm4-hospital.gguf";
  ASSERT_TRUE(WriteFileAtomically(Path("text"), "The lungs are clear.").ok());
  const auto with_budget = [&](const std::string& budget) {
    return Run({"quantize", model, Path("out.gguf"), "Q4_1", "--calibration", Path("text"), "-t", "1",
                "--memory-budget", budget});
  };
  const Outcome small = with_budget("1MiB");
  EXPECT_EQ(small.status, 1);
  EXPECT_THAT(small.err, HasSubstr("calibration, which keeps "));
  EXPECT_THAT(small.err, HasSubstr("of memory at least, the budget is 1"));
  EXPECT_EQ(std::count(small.err.begin(), small.err.end(), '\n'), 1) << small.err;
  EXPECT_EQ(with_budget("much").status, 2);
  EXPECT_EQ(Run({"quantize", model, Path("out.gguf"), "Q4_1", "--memory-budget", "1GiB"}).status, 2);
  EXPECT_EQ(Left("out.gguf"), 0);
  const Outcome enough = with_budget("2GiB");
  EXPECT_EQ(enough.status, 0) << enough.err;
}

// A disk that is full answers a write with an error, as a limit on the size of files does.
TEST_F(QuantizeCommand, AFullDiskIsAnErrorAndLeavesNothing) {
  GOLDEN_OR_SKIP(model, "golden/glm4-tiny-f32.gguf");
  const std::string command = "trap '' XFSZ; ulimit -f 200; exec \"$@\"";
  const Outcome outcome =
      Start({"/bin/sh", "-c", command, "sh", Program(), "quantize", model.string(), Path("out.gguf"), "Q8_0"});
  EXPECT_EQ(outcome.status, 1) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("out.gguf"));
  EXPECT_EQ(Left("out.gguf"), 0);
}

// The golden model, made into a checkpoint and back, gives llama.cpp's logits of the golden model.
TEST_F(QuantizeCommand, AnImportedCheckpointComputesTheGoldenLogits) {
  GOLDEN_OR_SKIP(model, "golden/glm4-tiny-f32.gguf");
  GOLDEN_OR_SKIP(expected, "golden/glm4-tiny-f32.logits");
  const auto golden = *GgufFile::Open(model);
  CheckpointFolder checkpoint = CheckpointFolder::FromGguf(*golden);
  checkpoint.SetVocabulary(*golden, Cl100kPretokenizer());
  checkpoint.Write(folder_->path() / "checkpoint", 2);
  std::string tokens = *ReadFile(GoldenPath("golden/tokens.txt"));
  for (char& c : tokens) c = c == '\n' || c == ' ' ? ',' : c;
  while (!tokens.empty() && tokens.back() == ',') tokens.pop_back();
  ASSERT_EQ(Run({"import", Path("checkpoint"), Path("out.gguf")}).status, 0);
  ASSERT_EQ(Run({"logits", "-m", Path("out.gguf"), "--tokens", tokens, "--out", Path("logits")}).status, 0);
  EXPECT_LE(NormalisedError(ReadFloats(Path("logits")), ReadFloats(expected)), 1e-6);
  const Outcome outcome = Run({"import", Path("checkpoint"), Path("small.gguf"), "--type", "Q8_0", "--json"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ((*ParseJson(outcome.out, "stdout"))["bytes_out"], std::filesystem::file_size(Path("small.gguf")));
  ASSERT_EQ(Run({"logits", "-m", Path("small.gguf"), "--tokens", tokens, "--out", Path("logits")}).status, 0);
  EXPECT_LE(NormalisedError(ReadFloats(Path("logits")), ReadFloats(expected)), 2e-3);
}

TEST_F(QuantizeCommand, AFolderThatIsNoCheckpointIsSix) {
  ASSERT_TRUE(std::filesystem::create_directory(Path("empty")));
  for (const std::string& folder : {Path("empty"), Path("missing")}) {
    const Outcome outcome = Run({"import", folder, Path("out.gguf")});
    EXPECT_EQ(outcome.status, 6);
    EXPECT_THAT(outcome.err, HasSubstr("config.json"));
  }
  EXPECT_EQ(Left("out.gguf"), 0);
}

}  // namespace
}  // namespace fedglm
