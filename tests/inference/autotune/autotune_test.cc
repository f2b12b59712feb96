#include "inference/autotune/autotune.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/json.h"
#include "inference/autotune/layer_timer.h"
#include "tests/support/tiny_model.h"

namespace fedglm {
namespace {

namespace fs = std::filesystem;

class AutotuneTest : public testing::Test {
 protected:
  // One thread is far faster here.
  Tuning Find(const TuningKey& key) {
    return FindTuning(
        key, CandidatesFor(2, 2),
        [this](int threads, int64_t rows) {
          ++passes_;
          return 1e-4 * threads * static_cast<double>(rows);
        },
        folder());
  }
  Tuning FindCountingWarnings(const TuningKey& key, int* warnings) {
    testing::internal::CaptureStderr();
    const Tuning tuning = Find(key);
    const std::string log = testing::internal::GetCapturedStderr();
    *warnings = static_cast<int>(std::count(log.begin(), log.end(), '\n'));
    EXPECT_TRUE(*warnings == 0 || log.find("autotune: ") != std::string::npos) << log;
    return tuning;
  }
  void Keep(const std::string& text) {
    ASSERT_TRUE(MakeDirectories(folder()).ok());
    std::ofstream(TuningFile(folder(), key_)) << text;
  }
  fs::path folder() const { return directory_.path() / "cache" / "autotune"; }

  static inline const Tuning kFound = {1, 1, 256};
  TemporaryDirectory directory_ = *TemporaryDirectory::Make();
  const TuningKey key_ = {"A Processor", 2, 2, "avx2", "Q4_0", 4096};
  int passes_ = 0;
};

TEST_F(AutotuneTest, IsMeasuredOnceForEachMachineAndKindOfModel) {
  EXPECT_EQ(Find(key_), kFound);
  EXPECT_GT(std::exchange(passes_, 0), 0);
  EXPECT_EQ(Find(key_), kFound);
  EXPECT_EQ(passes_, 0);
  const TuningKey others[] = {
      {"Another", 2, 2, "avx2", "Q4_0", 4096},     {"A Processor", 1, 2, "avx2", "Q4_0", 4096},
      {"A Processor", 2, 4, "avx2", "Q4_0", 4096}, {"A Processor", 2, 2, "scalar", "Q4_0", 4096},
      {"A Processor", 2, 2, "avx2", "Q8_0", 4096}, {"A Processor", 2, 2, "avx2", "Q4_0", 576}};
  for (const TuningKey& other : others) {
    EXPECT_EQ(ReadTuning(folder(), other).status().code(), absl::StatusCode::kNotFound);
    (void)Find(other);
    EXPECT_GT(std::exchange(passes_, 0), 0);
  }
  EXPECT_EQ(Find(key_), kFound);
  EXPECT_EQ(passes_, 0);
}

TEST_F(AutotuneTest, WhatIsKeptIsReadBack) {
  const Tuning tuning = {2, 1, 64};
  ASSERT_TRUE(WriteTuning(folder(), key_, tuning).ok());
  const auto read = ReadTuning(folder(), key_);
  ASSERT_TRUE(read.ok()) << Message(read.status());
  EXPECT_EQ(*read, tuning);
}

TEST_F(AutotuneTest, ABrokenEntryIsReplacedWithOneWarning) {
  ASSERT_TRUE(WriteTuning(folder(), key_, {2, 2, 128}).ok());
  const std::string good = *ReadFile(TuningFile(folder(), key_));
  const Json entry = *ParseJson(good, "entry");
  const auto with = [&](const char* name, const Json& value) {
    Json changed = entry;
    changed[name] = value;
    return DumpJson(changed);
  };
  Json without = entry;
  without.erase("prefill_chunk");
  const std::string broken[] = {"",
                                "{",
                                "[]",
                                "null",
                                good.substr(0, good.size() / 2),
                                std::string(5000, ' ') + good,
                                DumpJson(without),
                                with("decode_threads", 3),
                                with("decode_threads", 0),
                                with("prefill_threads", "2"),
                                with("prefill_threads", -1),
                                with("prefill_chunk", 1e18),
                                with("prefill_chunk", 0),
                                with("version", 2),
                                with("kernels", 0),
                                with("cpu", "Another"),
                                with("hidden", 576)};
  for (const std::string& text : broken) {
    Keep(text);
    EXPECT_EQ(ExitCodeOf(ReadTuning(folder(), key_).status()), ExitCode::kBadInputFile) << text;
    int warnings = 0;
    EXPECT_EQ(FindCountingWarnings(key_, &warnings), kFound);
    EXPECT_EQ(warnings, 1) << text;
    EXPECT_EQ(*ReadTuning(folder(), key_), kFound);
  }
}

TEST_F(AutotuneTest, AFolderThatCannotBeWrittenCostsOneWarning) {
  std::ofstream(directory_.path() / "cache") << "a file where the folder should be";
  int warnings = 0;
  EXPECT_EQ(FindCountingWarnings(key_, &warnings), kFound);
  EXPECT_EQ(warnings, 1);
}

TEST_F(AutotuneTest, WhatCannotBeTrustedIsNotKept) {
  int call = 0;
  const Tuning tuning = FindTuning(
      key_, CandidatesFor(2, 2), [&](int, int64_t) { return 1e-4 * (1 + ++call % 7); }, folder());
  EXPECT_EQ(tuning, (Tuning{2, 2, 256}));
  EXPECT_FALSE(fs::exists(TuningFile(folder(), key_)));
}

TEST_F(AutotuneTest, TheEntryIsItsOwnersAlone) {
  (void)Find(key_);
  struct stat status = {};
  ASSERT_EQ(stat(TuningFile(folder(), key_).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  ASSERT_EQ(stat(folder().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0700u);
}

TEST_F(AutotuneTest, AModelIsMeasuredInTheTimeThatIsMeant) {
  TinyModel("glm4").Write(directory_.path() / "model.gguf");
  const auto file = *GgufFile::Open(directory_.path() / "model.gguf");
  const auto hyperparameters = *ReadHyperparameters(*file);
  const Stopwatch stopwatch;
  const Tuning tuning = Autotune(*file, hyperparameters, folder());
  EXPECT_LT(stopwatch.Seconds(), 5);  // of a busy machine; 0.5 s are meant
  EXPECT_GE(tuning.decode_threads, 1);
  EXPECT_LE(tuning.decode_threads, UsableProcessors());
  EXPECT_GE(tuning.prefill_threads, 1);
  EXPECT_LE(tuning.prefill_threads, UsableProcessors());
  EXPECT_GE(tuning.prefill_chunk, 64);
  EXPECT_LE(tuning.prefill_chunk, 256);
}

TEST_F(AutotuneTest, MoreRowsTakeLonger) {
  TinyModel("llama", 8).Write(directory_.path() / "model.gguf");
  const auto file = *GgufFile::Open(directory_.path() / "model.gguf");
  const auto timer = LayerTimer::Make(*file, 256, 1);
  ASSERT_TRUE(timer.ok()) << Message(timer.status());
  double few = 1e9, many = 1e9;
  for (int i = 0; i < 5; ++i) {
    few = std::min(few, (*timer)->Seconds(1, 8));
    many = std::min(many, (*timer)->Seconds(1, 256));
  }
  EXPECT_GT(few, 0);
  EXPECT_GT(many, 4 * few);
}

}  // namespace
}  // namespace fedglm
