#include <cmath>
#include <cstring>

#include "gtest/gtest.h"
#include "inference/quantization/codec.h"
#include "inference/quantization/half.h"
#include "tests/support/golden.h"

namespace fedglm {
namespace {

class GoldenBlocks : public testing::TestWithParam<const char*> {};

TEST_P(GoldenBlocks, DecodeToTheSameBits) {
  const std::string name = GetParam();
  const auto blocks = ReadFile(GoldenPath("quantization/" + name + ".blocks"));
  ASSERT_TRUE(blocks.ok()) << Message(blocks.status());
  const std::vector<float> expected = ReadFloats(GoldenPath("quantization/" + name + ".f32"));
  ASSERT_EQ(expected.size(), 16u * 256u);
  const BlockType type = *BlockTypeFromName(name);
  ASSERT_EQ(static_cast<int64_t>(blocks->size()), RowBytes(type, 256) * 16);
  std::vector<float> decoded(expected.size());
  for (int row = 0; row < 16; ++row) {
    DecodeRow(type, reinterpret_cast<const std::byte*>(blocks->data()) + row * RowBytes(type, 256),
              decoded.data() + row * 256, 256);
  }
  EXPECT_EQ(std::memcmp(decoded.data(), expected.data(), decoded.size() * sizeof(float)), 0);
}

INSTANTIATE_TEST_SUITE_P(AllTypes, GoldenBlocks,
                         testing::Values("F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K",
                                         "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"));

TEST(Half, EveryValueSurvivesARoundTrip) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const uint16_t half = static_cast<uint16_t>(bits);
    const float value = HalfToFloat(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(HalfToFloat(FloatToHalf(value))));
    } else {
      EXPECT_EQ(FloatToHalf(value), half);
    }
  }
}

TEST(Half, RoundsToTheNearestAndToEven) {
  EXPECT_EQ(FloatToHalf(1.0f + 0x1p-11f), FloatToHalf(1.0f));  // a tie goes to the even one
  EXPECT_EQ(FloatToHalf(1.0f + 3 * 0x1p-11f), FloatToHalf(1.0f + 2 * 0x1p-10f));
  EXPECT_EQ(FloatToHalf(65520.0f), 0x7c00);  // infinity
  EXPECT_EQ(FloatToHalf(65519.0f), 0x7bff);
  EXPECT_EQ(FloatToHalf(-0x1p-25f), 0x8000);  // a tie between 0 and the smallest
}

}  // namespace
}  // namespace fedglm
