// Encoders: no worse than llama.cpp's on the same weights, better than the span of a block cut into equal steps, and
// with a metric they err where it costs least.
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "base/thread_pool.h"
#include "gtest/gtest.h"
#include "inference/gguf/gguf_file.h"
#include "inference/quantization/codec.h"
#include "inference/quantization/half.h"
#include "tests/support/golden.h"

namespace fedglm {
namespace {

constexpr BlockType kSearched[] = {BlockType::kQ4_0, BlockType::kQ4_1,   BlockType::kQ5_0,  BlockType::kQ5_1,
                                   BlockType::kQ2_K, BlockType::kQ3_K,   BlockType::kQ4_K,  BlockType::kQ5_K,
                                   BlockType::kQ6_K, BlockType::kIQ4_NL, BlockType::kIQ4_XS};
constexpr BlockType kEvery[] = {BlockType::kF32,  BlockType::kF16,    BlockType::kBF16,  BlockType::kQ8_0,
                                BlockType::kQ4_0, BlockType::kQ4_1,   BlockType::kQ5_0,  BlockType::kQ5_1,
                                BlockType::kQ2_K, BlockType::kQ3_K,   BlockType::kQ4_K,  BlockType::kQ5_K,
                                BlockType::kQ6_K, BlockType::kIQ4_NL, BlockType::kIQ4_XS};

std::string Name(BlockType type) { return std::string(FactsOf(type).name); }

std::vector<float> RoundTrip(BlockType type, const std::vector<float>& weights, const ErrorMetric* metric = nullptr) {
  const int64_t columns = static_cast<int64_t>(weights.size());
  std::vector<std::byte> blocks(static_cast<size_t>(RowBytes(type, columns)));
  const absl::Status status = EncodeRow(type, weights.data(), blocks.data(), columns, metric);
  EXPECT_TRUE(status.ok()) << Message(status);
  std::vector<float> decoded(weights.size());
  DecodeRow(type, blocks.data(), decoded.data(), columns);
  return decoded;
}

double SquaredError(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = static_cast<double>(a[i]) - b[i];
    sum += difference * difference;
  }
  return sum;
}

// Inputs of a matrix, [rows][columns], and what is known of them.
struct Inputs {
  Inputs(std::vector<float> values, int64_t columns) : x(std::move(values)), moments(columns) {
    moments.Add(x.data(), static_cast<int64_t>(x.size()) / columns);
  }
  ErrorMetric Metric() const { return *ErrorMetric::Make(moments); }

  // Sum over the inputs of (decoded·x - weights·x)².
  double OutputError(const std::vector<float>& weights, const std::vector<float>& decoded) const {
    double sum = 0;
    for (size_t begin = 0; begin < x.size(); begin += weights.size()) {
      double difference = 0;
      for (size_t i = 0; i < weights.size(); ++i) {
        difference += (static_cast<double>(decoded[i]) - weights[i]) * x[begin + i];
      }
      sum += difference * difference;
    }
    return sum;
  }

  std::vector<float> x;
  InputMoments moments;
};

// Independent columns, some of them far larger than others.
Inputs UnequalInputs(int64_t columns, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> sizes(static_cast<size_t>(columns)), values(2000 * sizes.size());
  for (float& size : sizes) size = std::exp(normal(random));
  for (size_t i = 0; i < values.size(); ++i) values[i] = 10 * sizes[i % sizes.size()] * normal(random);
  return Inputs(std::move(values), columns);
}

// Each column is much like the one before it.
Inputs CorrelatedInputs(int64_t columns, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(2000 * columns));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = normal(random) + (i % static_cast<size_t>(columns) == 0 ? 0.0f : 0.9f * values[i - 1]);
  }
  return Inputs(std::move(values), columns);
}

std::vector<float> Gaussian(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 0.02f);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// Student's t with three degrees of freedom: an outlier in most blocks.
std::vector<float> HeavyTailed(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::student_t_distribution<float> student(3);
  std::vector<float> values(count);
  for (float& value : values) value = 0.02f * student(random);
  return values;
}

// What a quantizer without a search does, with a scale (and minimum) for each group that nothing rounds.
struct PlainQuantizer {
  int group, bits;
  bool has_minimum;

  // Equal steps from the lowest weight to the highest, or from the extreme to its opposite.
  std::vector<float> RoundTrip(const std::vector<float>& weights) const {
    std::vector<float> out(weights.size());
    for (size_t begin = 0; begin < weights.size(); begin += static_cast<size_t>(group)) {
      const auto [low, high] = std::minmax_element(&weights[begin], &weights[begin] + group);
      const float extreme = std::fabs(*low) > std::fabs(*high) ? *low : *high;
      const float half = static_cast<float>(1 << (bits - 1));
      const float step = has_minimum ? (*high - *low) / (2 * half - 1) : -extreme / half;
      for (size_t i = begin; i < begin + static_cast<size_t>(group); ++i) {
        out[i] = has_minimum ? *low + step * std::round((weights[i] - *low) / step)
                             : step * std::clamp(std::round(weights[i] / step), -half, half - 1);
      }
    }
    return out;
  }
};
PlainQuantizer PlainOf(BlockType type) {
  switch (type) {
    case BlockType::kQ2_K:
      return {16, 2, true};
    case BlockType::kQ3_K:
      return {16, 3, false};
    case BlockType::kQ4_1:
    case BlockType::kQ4_K:
      return {32, 4, true};
    case BlockType::kQ5_0:
      return {32, 5, false};
    case BlockType::kQ5_1:
    case BlockType::kQ5_K:
      return {32, 5, true};
    case BlockType::kQ6_K:
      return {16, 6, false};
    default:
      return {32, 4, false};
  }
}

class AgainstLlamaCpp : public testing::TestWithParam<const char*> {};

// The golden models were quantized by llama.cpp from the float32 one: the same weights, so the errors can be compared.
TEST_P(AgainstLlamaCpp, TheErrorIsNoLarger) {
  GOLDEN_OR_SKIP(source_path, "golden/glm4-tiny-f32.gguf");
  const auto source = *GgufFile::Open(source_path);
  const auto theirs = *GgufFile::Open(GoldenPath("golden/glm4-tiny-" + std::string(GetParam()) + ".gguf"));
  std::map<std::string, std::pair<double, double>> errors;  // by block type: ours, theirs
  for (const GgufTensor& tensor : theirs->tensors()) {
    if (tensor.type == BlockType::kF32) continue;
    const WeightMatrix exact = source->FindTensor(tensor.name)->AsMatrix(), golden = tensor.AsMatrix();
    auto& [our_error, their_error] = errors[Name(tensor.type)];
    std::vector<float> weights(static_cast<size_t>(exact.columns)), decoded(weights.size());
    for (int64_t row = 0; row < exact.rows; ++row) {
      DecodeRow(BlockType::kF32, exact.Row(row), weights.data(), exact.columns);
      DecodeRow(golden.type, golden.Row(row), decoded.data(), golden.columns);
      their_error += SquaredError(weights, decoded);
      our_error += SquaredError(weights, RoundTrip(golden.type, weights));
    }
  }
  for (const auto& [type, pair] : errors) {
    RecordProperty("squared_error_ratio_" + type, std::to_string(pair.first / pair.second));
    EXPECT_LE(pair.first, 1.02 * pair.second) << type << ": ratio " << pair.first / pair.second;
  }
}

INSTANTIATE_TEST_SUITE_P(GoldenModels, AgainstLlamaCpp,
                         testing::Values("f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q2_k", "q3_k_m",
                                         "q4_k_m", "q5_k_m", "q6_k", "iq4_nl", "iq4_xs"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Encode, EverySearchBeatsAQuantizerWithoutOne) {
  for (const BlockType type : kSearched) {
    for (const bool heavy : {false, true}) {
      const std::vector<float> weights = heavy ? HeavyTailed(4096, 11) : Gaussian(4096, 12);
      const double searched = SquaredError(weights, RoundTrip(type, weights));
      const double plain = SquaredError(weights, PlainOf(type).RoundTrip(weights));
      EXPECT_LT(searched, plain) << Name(type) << (heavy ? " heavy tails" : " Gaussian") << ": " << searched / plain;
    }
  }
}

class EncodeForInputs : public testing::TestWithParam<BlockType> {};

TEST_P(EncodeForInputs, ImportantColumnsLoseLess) {
  const Inputs inputs = UnequalInputs(512, 3);
  const ErrorMetric metric = inputs.Metric();
  double blind = 0, heeded = 0;
  for (uint32_t row = 0; row < 8; ++row) {
    const std::vector<float> weights = Gaussian(512, 4 + row);
    blind += inputs.OutputError(weights, RoundTrip(GetParam(), weights));
    heeded += inputs.OutputError(weights, RoundTrip(GetParam(), weights, &metric));
  }
  EXPECT_LT(heeded, 0.9 * blind) << "ratio " << heeded / blind;
}

TEST_P(EncodeForInputs, ErrorsOfCorrelatedColumnsCancelEachOther) {
  const Inputs inputs = CorrelatedInputs(512, 5), unseen = CorrelatedInputs(512, 6);
  const ErrorMetric metric = inputs.Metric();
  double blind = 0, together = 0;
  for (uint32_t row = 0; row < 8; ++row) {
    const std::vector<float> weights = Gaussian(512, 14 + row);
    blind += unseen.OutputError(weights, RoundTrip(GetParam(), weights));
    together += unseen.OutputError(weights, RoundTrip(GetParam(), weights, &metric));
  }
  EXPECT_LT(together, 0.6 * blind) << "ratio " << together / blind;
}

// A column that the calibration text never used may still be used by another.
TEST_P(EncodeForInputs, AColumnThatWasNeverUsedIsNotGivenUp) {
  std::vector<float> x(256 * 256, 0.0f);
  for (size_t token = 0; token < 256; token += 2) x[token * 256 + token] = 3.0f;
  const Inputs inputs(std::move(x), 256);
  const ErrorMetric metric = inputs.Metric();
  const std::vector<float> weights = Gaussian(256, 5);
  const double blind = SquaredError(weights, RoundTrip(GetParam(), weights));
  EXPECT_LT(SquaredError(weights, RoundTrip(GetParam(), weights, &metric)), 16 * blind);
}

INSTANTIATE_TEST_SUITE_P(Types, EncodeForInputs,
                         testing::Values(BlockType::kQ8_0, BlockType::kQ4_0, BlockType::kQ4_1, BlockType::kQ5_0,
                                         BlockType::kQ5_1, BlockType::kQ2_K, BlockType::kQ3_K, BlockType::kQ4_K,
                                         BlockType::kQ5_K, BlockType::kQ6_K, BlockType::kIQ4_NL, BlockType::kIQ4_XS),
                         [](const auto& info) { return Name(info.param); });

TEST(Encode, WithoutAnyInputAllColumnsAreAlike) {
  const ErrorMetric nothing = *ErrorMetric::Make(InputMoments(256));
  const std::vector<float> weights = Gaussian(256, 5);
  for (const BlockType type : kSearched) {
    EXPECT_EQ(RoundTrip(type, weights, &nothing), RoundTrip(type, weights)) << Name(type);
  }
}

TEST(Encode, RowsOfOneValueAndOfVerySmallAndLargeOnes) {
  for (const BlockType type : kEvery) {
    EXPECT_EQ(RoundTrip(type, std::vector<float>(256, 0.0f)), std::vector<float>(256, 0.0f)) << Name(type);
    for (const float value : {1.0f, -1.0f, 3e-5f, -3e-5f, 60000.0f, -60000.0f}) {
      for (const float decoded : RoundTrip(type, std::vector<float>(256, value))) {
        ASSERT_NEAR(decoded, value, 0.03 * std::fabs(value)) << Name(type) << " " << value;
      }
    }
    // One weight alone in a block of zeros.
    std::vector<float> alone(256, 0.0f);
    alone[77] = -0.5f;
    const std::vector<float> decoded = RoundTrip(type, alone);
    EXPECT_NEAR(decoded[77], -0.5f, 0.02f) << Name(type);
    EXPECT_LT(SquaredError(decoded, alone), 0.01) << Name(type);
    // Weights near float16's smallest: what is lost is at most what the scale's rounding loses.
    for (const float small : RoundTrip(type, Gaussian(256, 6))) ASSERT_TRUE(std::isfinite(small)) << Name(type);
    std::vector<float> tiny = Gaussian(256, 7);
    for (float& value : tiny) value *= 1e-7f;
    for (const float value : RoundTrip(type, tiny)) ASSERT_LT(std::fabs(value), 3e-6f) << Name(type);
  }
}

TEST(Encode, TheSameRowGivesTheSameBytesOnEveryThread) {
  constexpr int64_t kRows = 64, kColumns = 512;
  const std::vector<float> weights = HeavyTailed(kRows * kColumns, 8);
  for (const BlockType type : kEvery) {
    const int64_t row_bytes = RowBytes(type, kColumns);
    const auto encode = [&](int threads) {
      std::vector<std::byte> out(static_cast<size_t>(row_bytes * kRows));
      ThreadPool pool(threads);
      pool.ParallelFor(kRows, 1, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
          EXPECT_TRUE(EncodeRow(type, weights.data() + r * kColumns, out.data() + r * row_bytes, kColumns).ok());
        }
      });
      return out;
    };
    EXPECT_EQ(encode(1), encode(3)) << Name(type);
  }
}

TEST(Encode, RefusesWhatIsNotFiniteOrTooLarge) {
  std::vector<std::byte> blocks(2048);
  for (const BlockType type : kEvery) {
    for (const float bad : {std::nanf(""), INFINITY, -INFINITY}) {
      std::vector<float> weights(256, 1.0f);
      weights[200] = bad;
      EXPECT_EQ(ExitCodeOf(EncodeRow(type, weights.data(), blocks.data(), 256)), ExitCode::kBadInputFile) << Name(type);
    }
    std::vector<float> weights(256, 1.0f);
    weights[3] = 1e6f;
    const bool fits = type == BlockType::kF32 || type == BlockType::kBF16;
    EXPECT_EQ(EncodeRow(type, weights.data(), blocks.data(), 256).ok(), fits) << Name(type);
  }
}

TEST(Encode, RefusesWrongArguments) {
  std::vector<std::byte> blocks(2048);
  const std::vector<float> weights(256, 1.0f);
  EXPECT_EQ(ExitCodeOf(EncodeRow(BlockType::kQ4_K, weights.data(), blocks.data(), 128)), ExitCode::kUsage);
  EXPECT_EQ(ExitCodeOf(EncodeRow(BlockType::kQ4_0, weights.data(), blocks.data(), 48)), ExitCode::kUsage);
  const ErrorMetric narrower = *ErrorMetric::Make(InputMoments(128));
  EXPECT_EQ(ExitCodeOf(EncodeRow(BlockType::kQ4_K, weights.data(), blocks.data(), 256, &narrower)), ExitCode::kUsage);
}

}  // namespace
}  // namespace fedglm
