// The parts of which the benchmarks are made: a figure that is wrong here is wrong in every comparison.
#include <cmath>
#include <numeric>
#include <thread>

#include "base/file.h"
#include "base/json.h"
#include "base/process.h"
#include "bench/claim.h"
#include "bench/engine_run.h"
#include "bench/machine_load.h"
#include "bench/measured_process.h"
#include "bench/memory_group.h"
#include "bench/page_cache.h"
#include "bench/random_blocks.h"
#include "bench/random_model.h"
#include "bench/statistics.h"
#include "bench/svg_plot.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "inference/gguf/gguf_file.h"
#include "inference/quantization/codec.h"
#include "inference/tokenizer/tokenizer.h"

namespace fedglm::bench {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr uint64_t kMiB = uint64_t{1} << 20;

absl::Status NoProgress(int64_t, const std::string&) { return absl::OkStatus(); }

std::vector<std::string> Shell(const std::string& script) { return {"/bin/sh", "-c", script}; }

TEST(Statistics, MedianOfOddEvenAndNone) {
  EXPECT_EQ(Median({3, 1, 100}), 3);
  EXPECT_EQ(Median({4, 1, 2, 100}), 3);
  EXPECT_EQ(Median({}), 0);
}

TEST(RandomBlocks, WeightsHaveTheDeviationThatWasAskedFor) {
  constexpr int64_t kColumns = 1 << 16;
  for (const BlockType type : {BlockType::kF32, BlockType::kF16, BlockType::kQ8_0, BlockType::kQ4_0}) {
    auto blocks = RandomBlocks::Make(type, 0.02f, 7);
    ASSERT_TRUE(blocks.ok()) << Message(blocks.status());
    std::vector<std::byte> row(static_cast<size_t>(RowBytes(type, kColumns)));
    blocks->Fill(row);
    std::vector<float> weights(kColumns);
    DecodeRow(type, row.data(), weights.data(), kColumns);
    const double mean = std::accumulate(weights.begin(), weights.end(), 0.0) / kColumns;
    double squares = 0;
    for (const float weight : weights) squares += weight * weight;
    EXPECT_NEAR(mean, 0, 0.001) << FactsOf(type).name;
    EXPECT_NEAR(std::sqrt(squares / kColumns), 0.02, 0.001) << FactsOf(type).name;
  }
}

TEST(RandomModel, IsReadWithTheShapeOfItsModel) {
  const auto folder = TemporaryDirectory::Make();
  for (const char* name : {"glm4-tiny", "smollm2-135m"}) {
    RandomModelOptions options;
    options.shape = *ShapeOf(name);
    options.shape.layers = 2;
    options.output_type = BlockType::kQ8_0;
    const auto path = folder->path() / (std::string(name) + ".gguf");
    const auto bytes = WriteRandomModel(options, path, NoProgress);
    ASSERT_TRUE(bytes.ok()) << Message(bytes.status());
    EXPECT_EQ(*bytes, std::filesystem::file_size(path));
    const auto file = GgufFile::Open(path);
    ASSERT_TRUE(file.ok()) << Message(file.status());
    const auto read = ReadHyperparameters(**file);
    ASSERT_TRUE(read.ok()) << Message(read.status());
    EXPECT_EQ(read->architecture, options.shape.architecture);
    EXPECT_EQ(read->vocabulary, options.shape.vocabulary);
    EXPECT_EQ(read->layers, 2);
    EXPECT_EQ(read->heads, options.shape.heads);
    EXPECT_EQ(read->kv_heads, options.shape.kv_heads);
    EXPECT_EQ(read->head_size, options.shape.head_size);
    EXPECT_EQ(read->rotary_size, options.shape.rotary_size);
    EXPECT_EQ(read->tied_embeddings, options.shape.tied_embeddings);
    EXPECT_EQ(read->qkv_bias, options.shape.qkv_bias);
    EXPECT_EQ((*file)->FindTensor("blk.1.ffn_down.weight")->type, BlockType::kQ4_0);
    if (!read->tied_embeddings) {
      EXPECT_EQ((*file)->FindTensor("output.weight")->type, BlockType::kQ8_0);
    }
    const auto tokenizer = Tokenizer::FromGguf(**file);
    ASSERT_TRUE(tokenizer.ok()) << Message(tokenizer.status());
    const std::string text = "Round 3 begins: \xc3\xa4\xe2\x82\xac\n";
    EXPECT_EQ((*tokenizer)->Decode((*tokenizer)->Encode(text, {})), text);
    ASSERT_TRUE((*tokenizer)->eos().has_value());
    EXPECT_TRUE((*tokenizer)->IsControl(*(*tokenizer)->eos()));
  }
}

TEST(RandomModel, MayBeOfAnyArchitecture) {
  const auto folder = TemporaryDirectory::Make();
  for (const Architecture& architecture : Architectures()) {
    RandomModelOptions options;
    options.shape = *ShapeOf("glm4-tiny");
    options.shape.architecture = &architecture;
    ASSERT_TRUE(WriteRandomModel(options, folder->path() / "m", NoProgress).ok());
    const auto read = ReadHyperparameters(**GgufFile::Open(folder->path() / "m"));
    ASSERT_TRUE(read.ok()) << Message(read.status());
    EXPECT_EQ(read->architecture, &architecture);
    EXPECT_TRUE(read->qkv_bias);
  }
}

TEST(RandomModel, SameSeedSameBytesAndOtherSeedOtherWeights) {
  const auto folder = TemporaryDirectory::Make();
  RandomModelOptions options;
  options.shape = *ShapeOf("glm4-tiny");
  std::vector<std::string> files;
  for (const uint64_t seed : {1, 1, 2}) {
    options.seed = seed;
    ASSERT_TRUE(WriteRandomModel(options, folder->path() / "m", NoProgress).ok());
    files.push_back(*ReadFile(folder->path() / "m"));
  }
  EXPECT_TRUE(files[0] == files[1]);
  EXPECT_FALSE(files[0] == files[2]);
}

TEST(RandomModel, AStoppedOneLeavesNoFile) {
  const auto folder = TemporaryDirectory::Make();
  RandomModelOptions options;
  options.shape = *ShapeOf("glm4-tiny");
  const auto written = WriteRandomModel(options, folder->path() / "m", [](int64_t done, const std::string&) {
    return done < 3 ? absl::OkStatus() : CancelledError("stopped");
  });
  EXPECT_FALSE(written.ok());
  EXPECT_TRUE(std::filesystem::is_empty(folder->path()));
  EXPECT_EQ(ExitCodeOf(ShapeOf("gpt-5").status()), ExitCode::kUsage);
}

TEST(MeasuredProcess, CountsTheMemoryOfWhatItRuns) {
  const auto idle = RunMeasured(Shell("echo done"), {});
  ASSERT_TRUE(idle.ok()) << Message(idle.status());
  EXPECT_EQ(idle->output, "done\n");
  // tail keeps all that it may have to print.
  const auto large = RunMeasured(Shell("head -c 100000000 /dev/zero | tail -c 100000000 | wc -c"), {});
  ASSERT_TRUE(large.ok()) << Message(large.status());
  EXPECT_THAT(large->output, HasSubstr("100000000"));
  EXPECT_GE(large->peak_rss_bytes, 100000000u);
  EXPECT_LT(idle->peak_rss_bytes, 90000000u);
}

TEST(MeasuredProcess, AFailureNamesTheProgram) {
  EXPECT_THAT(Message(RunMeasured({"/nowhere/at-all"}, {}).status()), HasSubstr("/nowhere/at-all cannot be started"));
  EXPECT_THAT(Message(RunMeasured(Shell("exit 3"), {}).status()), HasSubstr("exit code 3"));
  EXPECT_THAT(Message(RunMeasured(Shell("kill -9 $$"), {}).status()), HasSubstr("signal 9"));
  RunLimits limits;
  limits.timeout = std::chrono::seconds(1);
  EXPECT_THAT(Message(RunMeasured(Shell("exec sleep 60"), limits).status()), HasSubstr("did not end in 1 s"));
}

TEST(MemoryGroup, HoldsAProgramBelowItsLimitAndGoesAway) {
  std::filesystem::path folder;
  {
    const auto group = MemoryGroup::Create(64 * kMiB);
    if (!group.ok()) GTEST_SKIP() << Message(group.status());
    folder = group->folder();
    RunLimits limits;
    limits.memory_group = folder;
    EXPECT_TRUE(RunMeasured(Shell("head -c 10000000 /dev/zero | tail -c 10000000 | wc -c"), limits).ok());
    const auto large =
        RunMeasured(Shell("test $(head -c 200000000 /dev/zero | tail -c 200000000 | wc -c) = 200000000"), limits);
    EXPECT_FALSE(large.ok());
  }
  EXPECT_FALSE(std::filesystem::exists(folder));
  RunLimits gone;
  gone.memory_group = folder;
  EXPECT_THAT(Message(RunMeasured(Shell("exit 0"), gone).status()), HasSubstr("cannot join " + folder.string()));
}

// Of two loops side by side, the one that was waited for is our own.
TEST(MachineLoad, CountsWhatOthersUseAndNotItsOwn) {
  const auto busy = Process::Spawn({.arguments = Shell("while :; do :; done")});
  ASSERT_TRUE(busy.ok()) << Message(busy.status());
  const MachineLoad load;
  ASSERT_TRUE(RunMeasured(Shell("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"), {}).ok());
  const double others = load.OthersShare();
  EXPECT_GT(others, 0.25 / std::thread::hardware_concurrency());
  EXPECT_LT(others, 0.97);
}

TEST(PageCache, WarmsWholeFiles) {
  const auto folder = TemporaryDirectory::Make();
  const auto path = folder->path() / "file";
  ASSERT_TRUE(WriteFileAtomically(path, std::string(3 * kMiB, 'x')).ok());
  ASSERT_TRUE(DropFromPageCache(path).ok());
  ASSERT_TRUE(WarmPageCache(path).ok());
  EXPECT_EQ(*ResidentShare(path), 1.0);
  EXPECT_EQ(ExitCodeOf(WarmPageCache(folder->path() / "none")), ExitCode::kBadInputFile);
}

TEST(EngineRun, TakesTheNumbersOfTheReportAndTheKernelsMemory) {
  const auto folder = TemporaryDirectory::Make();
  const auto program = folder->path() / "engine";
  ASSERT_TRUE(WriteFileAtomically(program,
                                  "#!/bin/sh\necho \"$@\" >&2\n"
                                  "echo '{\"version\":1,\"decode_tps\":4.5,\"peak_rss_bytes\":1,\"kernels\":\"x\"}'\n",
                                  0755)
                  .ok());
  Samples samples;
  const MeasuredEngine engine{{program.string(), "bench"}, 2};
  Workload workload;
  workload.model = "m.gguf";
  workload.streams = 8;
  ::testing::internal::CaptureStderr();
  const absl::Status status = RunEngine(engine, workload, {}, samples);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "bench -m m.gguf -p 128 -n 16 -t 2 -r 1 --streams 8 --json\n");
  ASSERT_TRUE(status.ok()) << Message(status);
  EXPECT_EQ(*samples.MedianOf("decode_tps"), 4.5);
  EXPECT_GT(*samples.MedianOf("peak_rss_bytes"), 100000);
  EXPECT_THAT(Message(samples.MedianOf("batch_tps").status()), HasSubstr("batch_tps"));
}

Claim Sample(const char* name, double ratio, bool higher_is_better) {
  Claim claim;
  claim.name = name;
  claim.ours = 3 * ratio;
  claim.peer = 3;
  claim.ratio = ratio;
  claim.unit = "tokens/s";
  claim.target = 1.1;
  claim.higher_is_better = higher_is_better;
  return claim;
}

TEST(Claim, JsonHasTheSixNames) {
  Claim decode = Sample("decode", 2, true);
  decode.limit = 7;
  const Json list = ClaimsAsJson({decode, Sample("prefill", 1, true)});
  EXPECT_EQ(DumpJson(list),
            "[{\"claim\":\"decode\",\"ours\":6.0,\"peer\":3.0,\"limit\":7.0,\"ratio\":2.0,\"unit\":\"tokens/s\"},"
            "{\"claim\":\"prefill\",\"ours\":3.0,\"peer\":3.0,\"limit\":null,\"ratio\":1.0,\"unit\":\"tokens/s\"}]");
}

TEST(Claim, TableSaysWhatWasNotReached) {
  EXPECT_THAT(ClaimsAsTable({Sample("decode", 1.2, true)}, "llama.cpp"), Not(HasSubstr("not reached")));
  EXPECT_THAT(ClaimsAsTable({Sample("decode", 1.0, true)}, "llama.cpp"), HasSubstr("not reached"));
  EXPECT_THAT(ClaimsAsTable({Sample("first_token", 1.2, false)}, "llama.cpp"), HasSubstr("not reached"));
  EXPECT_THAT(ClaimsAsTable({Sample("first_token", 1.0, false)}, "llama.cpp"), Not(HasSubstr("not reached")));
}

TEST(SvgPlot, BarsAreAsLongAsTheirValues) {
  const std::string svg = SvgDocument({BarPanel{"a < b & c", "ratio", {{"one", 1, 2.0}, {"two", 2, {}}}, 1.0}});
  EXPECT_THAT(svg, HasSubstr("a &lt; b &amp; c"));
  EXPECT_THAT(svg, HasSubstr("width=\"230\" height=\"16\""));  // half of the plot's width
  EXPECT_THAT(svg, HasSubstr("width=\"460\" height=\"16\""));
  EXPECT_THAT(svg, HasSubstr("</svg>"));
}

TEST(SvgPlot, DoublingThreadsAreEvenlySpaced) {
  const Series series{"decode", {{1, 8}, {2, 4}, {4, 4}}};
  const LinePanel panel{"threads", "threads", "ms", {series}, true, LinePanel::Mark{2, "cores"}};
  const std::string svg = SvgDocument({panel});
  EXPECT_THAT(svg, HasSubstr("points=\"190,44 420,164 650,164 \""));
  EXPECT_THAT(svg, HasSubstr("cores"));
  EXPECT_THAT(SvgDocument({LinePanel{}}), Not(HasSubstr("nan")));
}

TEST(SvgPlot, AnHourOfSamplesIsALineAndNotThousandsOfFigures) {
  Series series{"level", {}};
  for (int i = 0; i < 1000; ++i) series.points.push_back({i / 10.0, i % 5 + 0.25});
  const std::string svg = SvgDocument({LinePanel{"level", "minutes", "level", {series}, false, {}}});
  EXPECT_THAT(svg, HasSubstr("<polyline"));
  EXPECT_THAT(svg, Not(HasSubstr("<circle")));
  EXPECT_THAT(svg, Not(HasSubstr(">4.25<")));
}

}  // namespace
}  // namespace fedglm::bench
