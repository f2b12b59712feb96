// What is no GGUF is refused with one line; nothing a file says crashes the reader, or makes it allocate more than
// 256 MiB.
#include "tests/support/malformed_gguf.h"

#include <algorithm>

#include "base/file.h"
#include "gtest/gtest.h"
#include "inference/gguf/architecture.h"
#include "inference/gguf/gguf_file.h"
#include "inference/tokenizer/chat_template.h"
#include "inference/tokenizer/tokenizer.h"
#include "tests/base/forked_child.h"
#include "tests/support/allocation_meter.h"
#include "tests/support/golden.h"

namespace fedglm {
namespace {

constexpr int64_t kMiB = 1 << 20;

absl::StatusOr<std::shared_ptr<const GgufFile>> ParseText(std::string_view text) {
  return GgufFile::Parse(std::as_bytes(std::span(text)), "memory");
}

// Everything that is made of a file before the first token. Refusals are BadFile, in one line.
void Use(std::string_view text, int& refused) {
  const auto check = [&](const absl::Status& status) {
    if (status.ok()) return true;
    ++refused;
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kBadInputFile) << Message(status);
    return false;
  };
  const auto file = ParseText(text);
  if (!check(file.status())) return;
  (void)check(ReadHyperparameters(**file).status());
  const auto tokenizer = Tokenizer::FromGguf(**file);
  if (!check(tokenizer.status())) return;
  const ChatTemplate chat_template = DetectChatTemplate(**file, **tokenizer);
  const auto chat = RenderChat(chat_template, **tokenizer, {{"user", "a b"}}, true);
  EXPECT_TRUE(chat.ok());
}

class Malformed : public testing::TestWithParam<MalformedGguf> {};

TEST_P(Malformed, IsRefusedInOneLine) {
  const AllocationMeter meter;
  const auto file = ParseText(GetParam().bytes);
  EXPECT_LT(meter.peak(), 4 * kMiB);
  ASSERT_FALSE(file.ok());
  const std::string message = Message(file.status());
  EXPECT_EQ(ExitCodeOf(file.status()), ExitCode::kBadInputFile) << message;
  EXPECT_TRUE(message.starts_with("memory: ")) << message;
  EXPECT_NE(message.find(GetParam().reason), std::string::npos) << message;
  EXPECT_EQ(std::count_if(message.begin(), message.end(), [](unsigned char c) { return c < 0x20; }), 0) << message;
  EXPECT_LT(message.size(), 300u) << message;
}

INSTANTIATE_TEST_SUITE_P(Gguf, Malformed, testing::ValuesIn(MalformedGgufs()),
                         [](const testing::TestParamInfo<MalformedGguf>& info) { return info.param.name; });

TEST(WellFormed, WhatTheMalformedOnesWereMadeOfOpens) {
  const RawGguf good = malformed::Good();
  const auto file = ParseText(good.Bytes());
  ASSERT_TRUE(file.ok()) << Message(file.status());
  EXPECT_EQ((*file)->tensors().size(), 2u);
  EXPECT_EQ((*file)->metadata().size(), 2u);
}

// HEADER_EMPTY, KV_SUCCESS, TENSORS_SUCCESS, CUSTOM_ALIGN of llama.cpp's test.
TEST(WellFormed, EmptyFilesOldOnesAndOtherAlignmentsOpen) {
  EXPECT_TRUE(ParseText(RawGguf{}.Bytes()).ok());
  EXPECT_TRUE(ParseText(malformed::Changed([](RawGguf& file) { file.version = 2; })).ok());
  for (const uint64_t alignment : {8, 64, 4096}) {
    const auto file = ParseText(malformed::Changed([&](RawGguf& raw) {
      raw.keys.push_back(malformed::Alignment(alignment));
      raw.alignment = alignment;
      raw.tensors[1].offset = alignment == 8 ? 72 : alignment * 2;
      raw.data.resize(raw.tensors[1].offset + 32);
    }));
    ASSERT_TRUE(file.ok()) << Message(file.status());
    EXPECT_EQ((*file)->alignment(), alignment);
  }
}

TEST(WellFormed, EveryTypeOfValueIsRead) {
  using namespace gguf_format;
  RawGguf raw;
  const auto scalar = [&](uint32_t type, uint64_t bits, int bytes) {
    raw.keys.push_back({"scalar." + std::to_string(type), type, LittleEndian(bits, bytes)});
    const std::string twice = LittleEndian(bits, bytes) + LittleEndian(bits, bytes);
    raw.keys.push_back(ArrayKey("array." + std::to_string(type), type, 2, twice));
  };
  scalar(kUint8, 200, 1);
  scalar(kInt8, 200, 1);
  scalar(kUint16, 65535, 2);
  scalar(kInt16, 65535, 2);
  scalar(kUint32, 4294967295, 4);
  scalar(kInt32, 4294967295, 4);
  scalar(kFloat32, 0x3fc00000, 4);
  scalar(kBool, 1, 1);
  scalar(kUint64, 1, 8);
  scalar(kInt64, malformed::kAll, 8);
  scalar(kFloat64, 0x3ff8000000000000, 8);
  const std::string bytes = raw.Bytes();
  const auto file = ParseText(bytes);
  ASSERT_TRUE(file.ok()) << Message(file.status());
  const auto integer = [&](uint32_t type) { return (*file)->IntegerOr("scalar." + std::to_string(type), 77); };
  EXPECT_EQ(integer(kUint8), 200);
  EXPECT_EQ(integer(kInt8), -56);
  EXPECT_EQ(integer(kUint16), 65535);
  EXPECT_EQ(integer(kInt16), -1);
  EXPECT_EQ(integer(kUint32), 4294967295);
  EXPECT_EQ(integer(kInt32), -1);
  EXPECT_EQ(integer(kInt64), -1);
  EXPECT_EQ((*file)->NumberOr("scalar.6", 0), 1.5);
  EXPECT_EQ((*file)->NumberOr("scalar.12", 0), 1.5);
  EXPECT_TRUE((*file)->BoolOr("scalar.7", false));
  EXPECT_EQ((*file)->FindArray("array.1")->integers, (std::vector<int64_t>{-56, -56}));
  EXPECT_EQ((*file)->FindArray("array.12")->numbers, (std::vector<double>{1.5, 1.5}));
}

TEST(Robustness, EveryTruncationOfAHeaderIsRefused) {
  const std::string text = *ReadFile(GoldenPath("golden/glm4-tiny-q4_k_m.gguf"));
  const auto whole = ParseText(text);
  ASSERT_TRUE(whole.ok());
  const size_t header =
      static_cast<size_t>((*whole)->tensors().front().bytes.data() - reinterpret_cast<const std::byte*>(text.data()));
  ASSERT_GT(header, 10000u);
  for (size_t size = 0; size <= header; ++size) {
    const auto file = ParseText(std::string_view(text).substr(0, size));
    ASSERT_FALSE(file.ok()) << size;
    ASSERT_EQ(ExitCodeOf(file.status()), ExitCode::kBadInputFile) << size;
  }
}

// One bit of each byte, another one in each: the file opens, or does not, and so does what is made of it.
TEST(Robustness, NoFlippedByteOfAHeaderCrashesAnything) {
  std::string text = *ReadFile(GoldenPath("golden/glm4-tiny-q4_k_m.gguf"));
  const auto whole = ParseText(text);
  ASSERT_TRUE(whole.ok());
  const size_t header =
      static_cast<size_t>((*whole)->tensors().front().bytes.data() - reinterpret_cast<const std::byte*>(text.data()));
  const AllocationMeter meter;
  int refused = 0;
  for (size_t i = 0; i < header; ++i) {
    const char before = text[i];
    text[i] = static_cast<char>(text[i] ^ (1 << (i % 8)));
    Use(text, refused);
    text[i] = before;
  }
  EXPECT_GT(refused, 4000);
  EXPECT_LT(meter.peak(), 256 * kMiB);
}

TEST(Robustness, NoValueOfAnyByteOfASmallFileCrashesAnything) {
  std::string text = malformed::Good().Bytes();
  int refused = 0;
  for (size_t i = 0; i < text.size() - malformed::Good().data.size(); ++i) {
    const char before = text[i];
    for (int value = 0; value < 256; ++value) {
      text[i] = static_cast<char>(value);
      Use(text, refused);
    }
    text[i] = before;
  }
  EXPECT_GT(refused, 10000);
}

// The largest vocabularies that the reader lets through. What is built of them stays within the bound.
class LargestMetadata : public testing::Test {
 protected:
  static RawGguf Vocabulary(const std::vector<std::string>& tokens, const std::vector<std::string>& merges) {
    using namespace gguf_format;
    std::string texts, types, merge_texts;
    for (const std::string& token : tokens) texts += GgufString(token), types += LittleEndian(4, 4);  // user-defined
    for (const std::string& merge : merges) merge_texts += GgufString(merge);
    RawGguf raw;
    raw.keys = {{"tokenizer.ggml.model", kString, GgufString("gpt2")},
                {"tokenizer.ggml.pre", kString, GgufString("glm4")},
                ArrayKey("tokenizer.ggml.tokens", kString, tokens.size(), std::move(texts)),
                ArrayKey("tokenizer.ggml.token_type", kInt32, tokens.size(), std::move(types)),
                ArrayKey("tokenizer.ggml.merges", kString, merges.size(), std::move(merge_texts))};
    return raw;
  }

  static void ExpectBounded(const std::string& bytes) {
    const AllocationMeter meter;
    const auto file = ParseText(bytes);
    ASSERT_TRUE(file.ok()) << Message(file.status());
    EXPECT_LT(meter.peak(), 64 * kMiB);
    const auto tokenizer = Tokenizer::FromGguf(**file);
    EXPECT_TRUE(tokenizer.ok()) << Message(tokenizer.status());
    EXPECT_LT(meter.peak(), 256 * kMiB);
    EXPECT_GT(meter.peak(), 32 * kMiB);  // the meter measures
  }
};

TEST_F(LargestMetadata, OfTokens) {
  std::vector<std::string> tokens;
  for (int i = 0; i < 1 << 20; ++i) {
    std::string token;
    for (int digit = 0; digit < 4; ++digit) token += static_cast<char>('0' + (i >> (5 * digit) & 31));
    tokens.push_back(std::move(token));
  }
  ExpectBounded(Vocabulary(tokens, {}).Bytes());
}

// Every merge makes a token that the vocabulary has not: they are remembered.
TEST_F(LargestMetadata, OfMergesThatNeverApply) {
  std::vector<std::string> merges;
  for (unsigned i = 2; merges.size() < 600'000; ++i) {
    std::string word;
    for (unsigned bits = i; bits > 1; bits >>= 1) word += (bits & 1) != 0 ? 'a' : 'b';
    if (word.size() >= 2) merges.push_back(word.substr(0, word.size() - 1) + " " + word.back());
  }
  ExpectBounded(Vocabulary({"a", "b"}, merges).Bytes());
}

TEST_F(LargestMetadata, OfKeysAndTensors) {
  RawGguf keys, tensors;
  for (uint64_t i = 0; i < 65536; ++i) {
    keys.keys.push_back({std::to_string(i), gguf_format::kBool, "\1"});
    tensors.tensors.push_back({std::string(58, 't') + std::to_string(100'000 + i), {1}, malformed::kF32, i * 32});
  }
  tensors.data.resize(65536 * 32);
  for (const std::string& bytes : {keys.Bytes(), tensors.Bytes()}) {
    const AllocationMeter meter;
    const auto file = ParseText(bytes);
    ASSERT_TRUE(file.ok()) << Message(file.status());
    EXPECT_LT(meter.peak(), 64 * kMiB);
  }
  keys.keys.push_back({"one.more"});
  EXPECT_FALSE(ParseText(keys.Bytes()).ok());
  tensors.tensors.push_back({"one.more", {1}, malformed::kF32, 0});
  EXPECT_FALSE(ParseText(tensors.Bytes()).ok());
}

TEST_F(LargestMetadata, BeyondItIsRefusedBeforeItIsAllocated) {
  using namespace gguf_format;
  RawGguf text, strings, numbers;
  text.keys = {{"text", kString, GgufString(std::string(60 * kMiB, 'x'))}};
  std::string empty_strings(8 << 20, '\0');
  for (int i = 0; i < 2; ++i) {
    strings.keys.push_back(ArrayKey("strings." + std::to_string(i), kString, 1 << 20, empty_strings));
  }
  for (int i = 0; i < 7; ++i) {
    numbers.keys.push_back(ArrayKey("numbers." + std::to_string(i), kUint8, 1 << 20, std::string(1 << 20, '\0')));
  }
  for (const std::string& bytes : {text.Bytes(), strings.Bytes(), numbers.Bytes()}) {
    const AllocationMeter meter;
    const auto file = ParseText(bytes);
    ASSERT_FALSE(file.ok());
    EXPECT_NE(Message(file.status()).find("metadata is too large"), std::string::npos) << Message(file.status());
    EXPECT_LT(meter.peak(), 56 * kMiB);
  }
}

// In a child, which a SIGBUS would end.
TEST(Robustness, AModelThatShrinksWhileItIsOpenIsAnErrorNotTheEnd) {
  const auto folder = TemporaryDirectory::Make();
  const std::filesystem::path model = folder->path() / "model.gguf";
  std::filesystem::copy_file(GoldenPath("golden/glm4-tiny-q4_k_m.gguf"), model);
  const int outcome = RunInChild([&] {
    const auto file = GgufFile::Open(model);
    if (!file.ok() || !(*file)->CheckIntact().ok()) return 1;
    std::filesystem::resize_file(model, 64 << 10);
    int64_t zeros = 0;
    for (const GgufTensor& tensor : (*file)->tensors()) {
      zeros += std::count(tensor.bytes.begin(), tensor.bytes.end(), std::byte{0});
    }
    if (zeros < 300'000) return 2;
    const absl::Status status = (*file)->CheckIntact();
    if (ExitCodeOf(status) != ExitCode::kBadInputFile) return 3;
    return Message(status).find("model.gguf") == std::string::npos ? 4 : 0;
  });
  EXPECT_EQ(outcome, 0);
}

}  // namespace
}  // namespace fedglm
