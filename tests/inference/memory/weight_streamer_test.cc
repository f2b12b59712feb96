#include "inference/memory/weight_streamer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <random>
#include <thread>

#include "base/file.h"
#include "tests/inference/memory/streamed_model.h"

namespace fedglm {
namespace {

namespace fs = std::filesystem;

class Streaming : public testing::Test {
 protected:
  void Write(const StreamedModel& model) {
    layers_ = model.layers;
    model.Write(path_);
    file_ = *GgufFile::Open(path_);
    bytes_ = *ReadFile(path_);
  }

  // nullptr where this machine does not read that way.
  std::unique_ptr<WeightStreamer> Open(int64_t pinned, const StreamerOptions& options) {
    absl::StatusOr<std::unique_ptr<WeightStreamer>> streamer =
        WeightStreamer::Make(file_, LayOutWeights(*file_, layers_), pinned, options);
    if (!streamer.ok() && options.method.has_value()) return nullptr;
    EXPECT_TRUE(streamer.ok()) << Message(streamer.status());
    return streamer.ok() ? std::move(*streamer) : nullptr;
  }

  // Whether a layer's tensors have the file's bytes where Acquire says they are.
  testing::AssertionResult LayerIsRight(WeightStreamer& streamer, int64_t layer) {
    const absl::StatusOr<ptrdiff_t> displacement = streamer.Acquire(layer);
    if (!displacement.ok()) return testing::AssertionFailure() << Message(displacement.status());
    for (const GgufTensor* const tensor : TensorsOf(*file_, layer, layers_)) {
      const ptrdiff_t offset = tensor->bytes.data() - file_->bytes().data();
      if (std::memcmp(tensor->bytes.data() + *displacement, bytes_.data() + offset, tensor->bytes.size()) != 0) {
        return testing::AssertionFailure() << tensor->name << " differs";
      }
    }
    streamer.Release(layer);
    return testing::AssertionSuccess();
  }

  testing::AssertionResult PassIsRight(WeightStreamer& streamer) {
    for (int64_t layer = 0; layer <= layers_; ++layer) {
      if (testing::AssertionResult result = LayerIsRight(streamer, layer); !result) return result;
    }
    return testing::AssertionSuccess();
  }

  const TemporaryDirectory folder_ = *TemporaryDirectory::Make();
  const fs::path path_ = folder_.path() / "model.gguf";
  int64_t layers_ = 0;
  std::shared_ptr<const GgufFile> file_;
  std::string bytes_;
};

class EveryMethod : public Streaming, public testing::WithParamInterface<ReadMethod> {};

TEST_P(EveryMethod, GivesTheFilesBytesForAnyRingAndAnyPinnedPart) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 12; ++round) {
    Write({.layers = static_cast<int64_t>(1 + random() % 9),
           .scattered = round % 2 == 1,
           .output = round % 3 != 0,
           .seed = random()});
    const int64_t pinned = static_cast<int64_t>(random() % static_cast<uint64_t>(layers_ + 1));
    const StreamerOptions options = {.ring_slots = static_cast<int64_t>(1 + random() % 4), .method = GetParam()};
    const std::unique_ptr<WeightStreamer> streamer = Open(pinned, options);
    if (streamer == nullptr) GTEST_SKIP() << "not on this machine: " << ReadMethodName(GetParam());
    for (int pass = 0; pass < 4; ++pass) {
      ASSERT_TRUE(PassIsRight(*streamer)) << "round " << round << " pass " << pass << " ring " << options.ring_slots;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, EveryMethod,
                         testing::Values(ReadMethod::kUring, ReadMethod::kThreads, ReadMethod::kPageCache),
                         [](const auto& tested) {
                           return std::string(tested.param == ReadMethod::kUring     ? "Uring"
                                              : tested.param == ReadMethod::kThreads ? "Threads"
                                                                                     : "PageCache");
                         });

TEST_F(Streaming, ReadsAPassAndTheReadAheadAndNothingMore) {
  Write({.layers = 10});
  const WeightLayout layout = LayOutWeights(*file_, layers_);
  const std::vector<ResidencyCost> costs = ResidencyCosts(layout);
  const std::unique_ptr<WeightStreamer> streamer = Open(5, {});
  ASSERT_NE(streamer, nullptr);
  constexpr uint64_t kPasses = 6;
  for (uint64_t pass = 0; pass < kPasses; ++pass) ASSERT_TRUE(PassIsRight(*streamer));
  const StreamerStatistics statistics = streamer->Statistics();
  const uint64_t pass_bytes = layout.bytes() - costs[5].pinned_bytes;
  EXPECT_EQ(statistics.pinned, 5);
  EXPECT_EQ(statistics.streamed, 6);
  EXPECT_EQ(statistics.pinned_bytes, costs[5].pinned_bytes);
  EXPECT_GE(statistics.streamed_bytes, kPasses * pass_bytes - kReadAlignment);  // the file's last page is not whole
  EXPECT_LE(statistics.streamed_bytes, kPasses * pass_bytes + costs[5].ring_bytes());
}

TEST_F(Streaming, PinnedLayersAreReadWhereTheyAreMapped) {
  Write({.layers = 4});
  const std::unique_ptr<WeightStreamer> streamer = Open(5, {});
  ASSERT_NE(streamer, nullptr);
  for (int64_t layer = 0; layer <= 4; ++layer) {
    EXPECT_EQ(*streamer->Acquire(layer), 0);
    streamer->Release(layer);
  }
  EXPECT_EQ(streamer->Statistics().streamed_bytes, 0u);
}

TEST_F(Streaming, GoesOnAfterAPassThatWasBrokenOffOrLeftLayersOut) {
  Write({.layers = 9, .scattered = true});
  const std::unique_ptr<WeightStreamer> streamer = Open(2, {});
  ASSERT_NE(streamer, nullptr);
  std::mt19937_64 random(5);
  for (int pass = 0; pass < 40; ++pass) {
    const int64_t end = static_cast<int64_t>(random() % 11);
    for (int64_t layer = 0; layer < end; ++layer) {
      if (random() % 5 == 0) continue;
      ASSERT_TRUE(LayerIsRight(*streamer, layer)) << "pass " << pass;
    }
  }
  EXPECT_TRUE(PassIsRight(*streamer));
}

TEST_F(Streaming, LayersArePinnedAndUnpinnedWhilePassesRun) {
  Write({.layers = 12});
  const std::unique_ptr<WeightStreamer> streamer = Open(13, {});
  ASSERT_NE(streamer, nullptr);
  std::atomic<bool> done = false;
  std::atomic<int> changes = 0, passes = 0;
  std::thread monitor([&] {
    std::mt19937_64 random(3);
    while (!done) {
      const int64_t count = static_cast<int64_t>(random() % 14);
      EXPECT_TRUE(streamer->SetPinned(count).ok());
      EXPECT_EQ(streamer->Statistics().pinned, count);
      ++changes;
      // As a monitor does, it lets work go on between two changes: here, to somewhere in the next pass.
      for (const int before = passes; passes == before && !done;) std::this_thread::yield();
    }
  });
  for (; passes < 60 || changes < 5; ++passes) {
    if (const testing::AssertionResult right = PassIsRight(*streamer); !right) {
      ADD_FAILURE() << "pass " << passes << ": " << right.message();
      break;
    }
  }
  done = true;
  monitor.join();
  ASSERT_TRUE(streamer->SetPinned(13).ok());
  const uint64_t before = streamer->Statistics().streamed_bytes;
  ASSERT_TRUE(PassIsRight(*streamer));
  EXPECT_EQ(streamer->Statistics().streamed_bytes, before);
}

TEST_F(Streaming, AFileThatShrinksIsAnErrorAndNotTheEndOfTheProcess) {
  for (const ReadMethod method : {ReadMethod::kUring, ReadMethod::kThreads, ReadMethod::kPageCache}) {
    Write({.layers = 10});
    const std::unique_ptr<WeightStreamer> streamer = Open(1, {.method = method});
    if (streamer == nullptr) continue;
    ASSERT_TRUE(PassIsRight(*streamer));
    fs::resize_file(path_, bytes_.size() / 2 + 123);
    absl::Status status;
    for (int64_t pass = 0; pass < 2 && status.ok(); ++pass) {  // the ring may still hold whole layers
      for (int64_t layer = 0; layer <= layers_ && status.ok(); ++layer) {
        const absl::StatusOr<ptrdiff_t> displacement = streamer->Acquire(layer);
        status = displacement.status();
        if (status.ok()) streamer->Release(layer);
      }
    }
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kBadInputFile) << ReadMethodName(method) << ": " << Message(status);
    EXPECT_NE(Message(status).find("shorter"), std::string::npos) << Message(status);
  }
}

TEST_F(Streaming, AFileThatWasReplacedBeforeItIsReadIsRefused) {
  Write({.layers = 4, .seed = 1});
  const fs::path other = folder_.path() / "other.gguf";
  StreamedModel{.layers = 5, .seed = 2}.Write(other);
  fs::rename(other, path_);
  const auto streamer = WeightStreamer::Make(file_, LayOutWeights(*file_, layers_), 1, {});
  EXPECT_EQ(ExitCodeOf(streamer.status()), ExitCode::kBadInputFile) << Message(streamer.status());
}

TEST_F(Streaming, MoreLayersThanSlotsAtOnceIsAnErrorNotADeadlock) {
  Write({.layers = 6});
  const std::unique_ptr<WeightStreamer> streamer = Open(0, {.ring_slots = 2});
  ASSERT_NE(streamer, nullptr);
  ASSERT_TRUE(streamer->Acquire(0).ok());
  ASSERT_TRUE(streamer->Acquire(1).ok());
  EXPECT_FALSE(streamer->Acquire(2).ok());
  streamer->Release(0);
  streamer->Release(1);
  EXPECT_TRUE(PassIsRight(*streamer));
}

}  // namespace
}  // namespace fedglm
