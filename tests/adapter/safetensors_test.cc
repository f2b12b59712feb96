#include "adapter/safetensors.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/json.h"

namespace fedglm {
namespace {

// A file from a header as text and the tensors' bytes.
std::string File(const std::string& header, const std::string& data) {
  const uint64_t size = header.size();
  return std::string(reinterpret_cast<const char*>(&size), sizeof(size)) + header + data;
}

template <typename T>
std::string AsBytes(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

std::string Entry(const std::string& type, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + type + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

void ExpectBad(const std::string& bytes, const std::string& part) {
  const absl::StatusOr<SafetensorsFile> file = ParseSafetensors(bytes, "weights");
  ASSERT_FALSE(file.ok()) << part;
  EXPECT_EQ(ExitCodeOf(file.status()), ExitCode::kBadInputFile);
  EXPECT_EQ(Message(file.status()).find("weights"), 0u) << Message(file.status());
  EXPECT_NE(Message(file.status()).find(part), std::string::npos) << Message(file.status());
}

std::map<std::string, Matrix> SampleTensors() {
  return {{"b", {2, 3, {1, 2, 3, 4, 5, 6}}},
          {"a", {1, 2, {-0.0f, std::numeric_limits<float>::denorm_min()}}},
          {"ä \"quoted\"", {3, 1, {1e30f, -1e-30f, 0.1f}}}};
}

TEST(Safetensors, WhatIsWrittenIsReadBackBitForBit) {
  const std::map<std::string, std::string> metadata = {{"format", "pt"}, {"key", "{\"json\": \"in\\ntext\"}"}};
  const std::string bytes = SerializeSafetensors(SampleTensors(), metadata);
  const absl::StatusOr<SafetensorsFile> file = ParseSafetensors(bytes, "weights");
  ASSERT_TRUE(file.ok()) << Message(file.status());
  EXPECT_EQ(file->tensors, SampleTensors());
  EXPECT_TRUE(std::signbit(file->tensors.at("a").values[0]));
  EXPECT_EQ(file->metadata, metadata);
  EXPECT_EQ(SerializeSafetensors(file->tensors, file->metadata), bytes);
}

TEST(Safetensors, TheFormatIsThePublishedOne) {
  const std::string bytes = SerializeSafetensors({{"x", {2, 2, {1, 2, 3, 4}}}, {"y", {1, 1, {5}}}}, {{"format", "pt"}});
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
  EXPECT_EQ((8 + header_bytes) % 8, 0u) << "the data is aligned";
  const Json header = *ParseJson(std::string_view(bytes).substr(8, header_bytes), "header");
  const Json expected = {{"__metadata__", {{"format", "pt"}}},
                         {"x", {{"dtype", "F32"}, {"shape", {2, 2}}, {"data_offsets", {0, 16}}}},
                         {"y", {{"dtype", "F32"}, {"shape", {1, 1}}, {"data_offsets", {16, 20}}}}};
  EXPECT_EQ(header, expected);
  EXPECT_EQ(bytes.substr(8 + header_bytes), AsBytes<float>({1, 2, 3, 4, 5}));
}

TEST(Safetensors, NoTensorsAndEmptyTensorsAreRead) {
  EXPECT_TRUE(ParseSafetensors(SerializeSafetensors({}, {}), "weights")->tensors.empty());
  const std::map<std::string, Matrix> tensors = {{"a", {0, 4, {}}}, {"b", {1, 2, {1, 2}}}, {"c", {2, 0, {}}}};
  const absl::StatusOr<SafetensorsFile> file = ParseSafetensors(SerializeSafetensors(tensors, {}), "weights");
  ASSERT_TRUE(file.ok()) << Message(file.status());
  EXPECT_EQ(file->tensors, tensors);
  // The same with the empty one's range listed after the other's, at the same place.
  const std::string header = "{\"b\":" + Entry("F32", "[2]", "[0,8]") + ",\"a\":" + Entry("F32", "[0]", "[0,0]") + "}";
  EXPECT_TRUE(ParseSafetensors(File(header, AsBytes<float>({1, 2})), "weights").ok());
}

TEST(Safetensors, TensorsMayStandInAnyOrderAndOneDimensionIsARow) {
  const std::string header =
      "{\"late\":" + Entry("F32", "[2,1]", "[12,20]") + ",\"early\":" + Entry("F32", "[3]", "[0,12]") + "}  ";
  const std::string data = AsBytes<float>({1, 2, 3, 4, 5});
  const absl::StatusOr<SafetensorsFile> file = ParseSafetensors(File(header, data), "weights");
  ASSERT_TRUE(file.ok()) << Message(file.status());
  EXPECT_EQ(file->tensors.at("early"), (Matrix{1, 3, {1, 2, 3}}));
  EXPECT_EQ(file->tensors.at("late"), (Matrix{2, 1, {4, 5}}));
}

TEST(Safetensors, HalvesOfEveryKindAreExact) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<uint16_t> halves = {0x0000, 0x8000, 0x3c00, 0xc000, 0x3555, 0x7bff,
                                        0x0001, 0x83ff, 0x0400, 0x7c00, 0xfc00};
  const std::vector<float> expected = {0.0f,     -0.0f,       1.0f,     -2.0f,    0.333251953125f, 65504.0f,
                                       0x1p-24f, -0x3ffp-24f, 0x1p-14f, infinity, -infinity};
  std::vector<uint16_t> with_nan = halves;
  with_nan.push_back(0x7e00);
  const std::string header = "{\"x\":" + Entry("F16", "[12]", "[0,24]") + "}";
  const absl::StatusOr<SafetensorsFile> file = ParseSafetensors(File(header, AsBytes(with_nan)), "weights");
  ASSERT_TRUE(file.ok()) << Message(file.status());
  const std::vector<float>& values = file->tensors.at("x").values;
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(std::bit_cast<uint32_t>(values[i]), std::bit_cast<uint32_t>(expected[i])) << i;
  }
  EXPECT_TRUE(std::isnan(values.back()));
}

TEST(Safetensors, BfloatsAreExact) {
  const std::vector<uint16_t> bfloats = {0x0000, 0x3f80, 0xc000, 0x3eab, 0x7f7f, 0x0001, 0xff80};
  const std::string header = "{\"x\":" + Entry("BF16", "[1,7]", "[0,14]") + "}";
  const absl::StatusOr<SafetensorsFile> file = ParseSafetensors(File(header, AsBytes(bfloats)), "weights");
  ASSERT_TRUE(file.ok()) << Message(file.status());
  for (size_t i = 0; i < bfloats.size(); ++i) {
    EXPECT_EQ(std::bit_cast<uint32_t>(file->tensors.at("x").values[i]), uint32_t{bfloats[i]} << 16);
  }
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string bytes = SerializeSafetensors(SampleTensors(), {{"format", "pt"}});
  for (size_t size = 0; size < bytes.size(); ++size) {
    const absl::StatusOr<SafetensorsFile> file = ParseSafetensors(std::string_view(bytes).substr(0, size), "weights");
    ASSERT_FALSE(file.ok()) << size;
    EXPECT_EQ(ExitCodeOf(file.status()), ExitCode::kBadInputFile) << size;
  }
  ExpectBad(bytes + '\0', "bytes that belong to no tensor");
}

TEST(Safetensors, NoFlippedByteCrashesIt) {
  std::string bytes = SerializeSafetensors(SampleTensors(), {{"format", "pt"}});
  int refused = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const int flip : {0x01, 0x02, 0x08, 0x80, 0xff}) {
      const char before = bytes[i];
      bytes[i] = static_cast<char>(bytes[i] ^ flip);
      const absl::StatusOr<SafetensorsFile> file = ParseSafetensors(bytes, "weights");
      if (!file.ok()) {
        ++refused;
        EXPECT_EQ(ExitCodeOf(file.status()), ExitCode::kBadInputFile);
      }
      bytes[i] = before;
    }
  }
  EXPECT_GT(refused, 500);
}

TEST(Safetensors, AHugeHeaderIsRefusedBeforeItIsRead) {
  for (const uint64_t size : {uint64_t{1} << 25, uint64_t{1} << 40, uint64_t{1} << 63, UINT64_MAX, UINT64_MAX - 7}) {
    std::string bytes = SerializeSafetensors(SampleTensors(), {});
    std::memcpy(bytes.data(), &size, sizeof(size));
    ExpectBad(bytes, "not a safetensors file, or truncated");
  }
}

TEST(Safetensors, RangesThatOverlapLeaveTheFileOrLeaveHolesAreRefused) {
  const std::string data(16, '\0');
  const auto two = [&](const std::string& first, const std::string& second) {
    return File("{\"a\":" + Entry("F32", "[2]", first) + ",\"b\":" + Entry("F32", "[2]", second) + "}", data);
  };
  ASSERT_TRUE(ParseSafetensors(two("[0,8]", "[8,16]"), "weights").ok());
  ExpectBad(two("[0,8]", "[4,12]"), "overlap");
  ExpectBad(two("[0,8]", "[0,8]"), "overlap");
  ExpectBad(two("[7,15]", "[0,8]"), "overlap");
  ExpectBad(two("[0,8]", "[12,20]"), "outside the file");
  ExpectBad(two("[0,8]", "[16,8]"), "outside the file");
  ExpectBad(two("[0,8]", "[18446744073709551608,18446744073709551615]"), "outside the file");
  ExpectBad(two("[0,8]", "[-8,0]"), "data_offsets is malformed");
  ExpectBad(two("[0,8]", "[8.0,16.0]"), "data_offsets is malformed");
  ExpectBad(two("[0,8]", "[8]"), "data_offsets is malformed");
  ExpectBad(two("[0,8]", "\"8-16\""), "data_offsets is malformed");
  const auto one = [](const std::string& offsets, size_t size) {
    return File("{\"a\":" + Entry("F32", "[2]", offsets) + "}", std::string(size, '\0'));
  };
  ExpectBad(one("[8,16]", 16), "belong to no tensor");
  ExpectBad(one("[0,8]", 16), "belong to no tensor");
  const std::string first = "{\"a\":" + Entry("F32", "[1]", "[0,4]");
  const std::string last = ",\"b\":" + Entry("F32", "[1]", "[12,16]") + "}";
  ExpectBad(File(first + last, data), "belong to no tensor");
}

TEST(Safetensors, ShapesThatContradictTheBytesAreRefused) {
  const auto shaped = [](const std::string& shape) {
    return File("{\"x\":" + Entry("F32", shape, "[0,16]") + "}", std::string(16, '\0'));
  };
  ASSERT_TRUE(ParseSafetensors(shaped("[2,2]"), "weights").ok());
  ExpectBad(shaped("[2,3]"), "do not agree");
  ExpectBad(shaped("[3]"), "do not agree");
  ExpectBad(shaped("[0]"), "do not agree");
  // Products that would wrap round to four.
  ExpectBad(shaped("[2147483648,2147483648]"), "do not agree");
  ExpectBad(shaped("[4294967297,4]"), "impossible shape");
  ExpectBad(shaped("[-2,-2]"), "impossible shape");
  ExpectBad(shaped("[2.0,2.0]"), "impossible shape");
  ExpectBad(shaped("[1,2,2]"), "one or two dimensions");
  ExpectBad(shaped("[]"), "one or two dimensions");
  ExpectBad(shaped("4"), "one or two dimensions");
}

TEST(Safetensors, OtherTypesAreRefusedByName) {
  for (const char* type : {"F64", "I8", "BOOL", "F8_E4M3", "f32", ""}) {
    const std::string header = "{\"x\":" + Entry(type, "[1]", "[0,8]") + "}";
    ExpectBad(File(header, std::string(8, '\0')), "tensor 'x': type '" + std::string(type) + "' is not supported");
  }
}

TEST(Safetensors, ANameThatIsThereTwiceIsRefused) {
  const std::string entry = Entry("F32", "[1]", "[0,4]");
  ExpectBad(File("{\"x\":" + entry + ",\"x\":" + entry + "}", std::string(4, '\0')), "\"x\" is there twice");
}

TEST(Safetensors, WhatIsNoHeaderIsRefused) {
  for (const char* header :
       {"", "{", "[]", "7", "null", "{\"x\":1}", "{\"x\":{}}", R"({"x":{"dtype":"F32"}})", R"({"x":{"dtype":1}})",
        R"({"__metadata__":1})", R"({"__metadata__":{"a":1}})", "{\"\xff\":{}}"}) {
    const absl::StatusOr<SafetensorsFile> file = ParseSafetensors(File(header, ""), "weights");
    ASSERT_FALSE(file.ok()) << header;
    EXPECT_EQ(ExitCodeOf(file.status()), ExitCode::kBadInputFile) << header;
  }
}

TEST(Safetensors, TooManyTensorsAreRefusedInNoTime) {
  std::string header = "{\"first\":{}";
  for (int i = 0; i < 70000; ++i) header += ",\"" + std::to_string(i) + "\":{}";
  ExpectBad(File(header + "}", ""), "not a safetensors header");
}

TEST(Safetensors, ThirtyThousandTensorsAreReadInNoTime) {
  constexpr int kTensors = 30000;
  std::string header = "{";
  for (int i = 0; i < kTensors; ++i) {
    const std::string begin = std::to_string(4 * i), end = std::to_string(4 * i + 4);
    header += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":" + Entry("F32", "[1]", "[" + begin + "," + end + "]");
  }
  const auto file = ParseSafetensors(File(header + "}", std::string(4 * kTensors, '\0')), "weights");
  ASSERT_TRUE(file.ok()) << Message(file.status());
  EXPECT_EQ(file->tensors.size(), static_cast<size_t>(kTensors));
}

TEST(Safetensors, AHeaderOfMoreThanFourMiBIsRefused) {
  const auto padded = [](size_t bytes) { return File("{}" + std::string(bytes - 2, ' '), ""); };
  EXPECT_TRUE(ParseSafetensors(padded(4 << 20), "weights").ok());
  ExpectBad(padded((4 << 20) + 1), "not a safetensors file");
}

}  // namespace
}  // namespace fedglm
