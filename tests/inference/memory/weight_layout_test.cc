#include "inference/memory/weight_layout.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/inference/memory/streamed_model.h"

namespace fedglm {
namespace {

class Layouts : public testing::TestWithParam<std::tuple<bool, bool>> {};

TEST_P(Layouts, CoverEveryMatrixWithWholeDisjointPages) {
  const auto [scattered, output] = GetParam();
  const auto folder = TemporaryDirectory::Make();
  StreamedModel{.layers = 12, .scattered = scattered, .output = output}.Write(folder->path() / "m.gguf");
  const std::shared_ptr<const GgufFile> file = *GgufFile::Open(folder->path() / "m.gguf");
  const WeightLayout layout = LayOutWeights(*file, 12);
  ASSERT_EQ(layout.layers.size(), 13u);
  EXPECT_EQ(layout.output(), 12);
  EXPECT_EQ(layout.vector_values, 72u);
  size_t most_ranges = 0;
  for (int64_t layer = 0; layer <= 12; ++layer) {
    const LayerWeights& weights = layout.layers[static_cast<size_t>(layer)];
    most_ranges = std::max(most_ranges, weights.ranges.size());
    uint64_t before = 0;
    for (const FileRange& range : weights.ranges) {
      EXPECT_EQ(range.offset % kReadAlignment, 0u);
      EXPECT_EQ(range.bytes % kReadAlignment, 0u);
      EXPECT_GE(range.offset, before);
      before = range.end();
    }
    for (const GgufTensor* const tensor : TensorsOf(*file, layer, 12)) {
      const uint64_t begin = static_cast<uint64_t>(tensor->bytes.data() - file->bytes().data());
      const bool covered = std::any_of(weights.ranges.begin(), weights.ranges.end(), [&](const FileRange& range) {
        return range.offset <= begin && begin + tensor->bytes.size() <= range.end();
      });
      EXPECT_TRUE(covered) << tensor->name;
    }
  }
  EXPECT_EQ(most_ranges > 1, scattered);
  // The embedding alone is no layer's; the header is before all.
  const GgufTensor* const embedding = file->FindTensor("token_embd.weight");
  EXPECT_EQ(layout.metadata_bytes, static_cast<uint64_t>(embedding->bytes.data() - file->bytes().data()));
}

INSTANTIATE_TEST_SUITE_P(Files, Layouts, testing::Combine(testing::Bool(), testing::Bool()));

TEST(WeightLayout, MergesOnlyWhatIsCloserThanTheGap) {
  const auto folder = TemporaryDirectory::Make();
  StreamedModel{.layers = 5, .scattered = true, .matrices = 4}.Write(folder->path() / "m.gguf");
  const std::shared_ptr<const GgufFile> file = *GgufFile::Open(folder->path() / "m.gguf");
  const WeightLayout apart = LayOutWeights(*file, 5, 0), together = LayOutWeights(*file, 5, uint64_t{1} << 40);
  EXPECT_EQ(apart.layers[2].ranges.size(), 4u);
  EXPECT_EQ(together.layers[2].ranges.size(), 1u);
  EXPECT_EQ(apart.layers[2].span(), together.layers[2].bytes());
  EXPECT_LT(apart.layers[2].bytes(), together.layers[2].bytes());
}

}  // namespace
}  // namespace fedglm
