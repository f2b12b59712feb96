#include "inference/gguf/gguf_file.h"

#include <sys/stat.h>

#include <cstring>

#include "gtest/gtest.h"
#include "inference/gguf/architecture.h"
#include "inference/gguf/gguf_writer.h"
#include "tests/support/golden.h"

namespace fedglm {
namespace {

std::span<const std::byte> Bytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

absl::StatusOr<std::shared_ptr<const GgufFile>> ParseText(const std::string& text) {
  return GgufFile::Parse(Bytes(text), "memory");
}

// A small file: three keys, two tensors.
std::string SmallFile() {
  const auto folder = TemporaryDirectory::Make();
  const std::filesystem::path path = folder->path() / "small.gguf";
  auto writer = *GgufWriter::Create(path);
  writer->AddString("general.architecture", "glm4");
  writer->AddUint32("answer", 42);
  writer->AddStrings("words", {"a", "bc"});
  const int64_t matrix[] = {32, 2}, vector[] = {3};
  writer->DeclareTensor("matrix", BlockType::kQ8_0, matrix);
  writer->DeclareTensor("vector", BlockType::kF32, vector);
  std::string data(34 * 2 + 12, '\1');
  EXPECT_TRUE(writer->Append(Bytes(data)).ok());
  EXPECT_TRUE(writer->Finish().ok());
  return *ReadFile(path);
}

TEST(GgufFile, ReadsBackWhatWasWritten) {
  const std::string text = SmallFile();
  const auto file = ParseText(text);
  ASSERT_TRUE(file.ok()) << Message(file.status());
  EXPECT_EQ((*file)->StringOr("general.architecture", ""), "glm4");
  EXPECT_EQ((*file)->IntegerOr("answer", 0), 42);
  ASSERT_NE((*file)->FindArray("words"), nullptr);
  EXPECT_EQ((*file)->FindArray("words")->strings, (std::vector<std::string>{"a", "bc"}));
  const GgufTensor* const matrix = (*file)->FindTensor("matrix");
  ASSERT_NE(matrix, nullptr);
  EXPECT_EQ(matrix->rows(), 2);
  EXPECT_EQ(matrix->bytes.size(), 68u);
  EXPECT_EQ((*file)->FindTensor("vector")->bytes.size(), 12u);
}

TEST(GgufFile, EveryTruncationIsRefused) {
  const std::string text = SmallFile();
  for (size_t size = 0; size < text.size() - 20; ++size) {
    const auto file = ParseText(text.substr(0, size));
    ASSERT_FALSE(file.ok()) << size;
    EXPECT_EQ(ExitCodeOf(file.status()), ExitCode::kBadInputFile);
  }
}

TEST(GgufFile, NoFlippedByteCrashesIt) {
  std::string text = SmallFile();
  int refused = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    for (const int flip : {0x01, 0x80, 0xff}) {
      const char before = text[i];
      text[i] = static_cast<char>(text[i] ^ flip);
      const auto file = ParseText(text);
      if (!file.ok()) {
        ++refused;
        EXPECT_EQ(ExitCodeOf(file.status()), ExitCode::kBadInputFile);
      }
      text[i] = before;
    }
  }
  EXPECT_GT(refused, 100);
}

TEST(GgufFile, HugeDeclaredCountsAreRefusedBeforeAnythingIsAllocated) {
  std::string text = SmallFile();
  const uint64_t huge = uint64_t{1} << 62;
  for (const size_t offset : {size_t{8}, size_t{16}, size_t{24}}) {  // tensors, keys, the first key's length
    std::string broken = text;
    std::memcpy(broken.data() + offset, &huge, sizeof(huge));
    EXPECT_FALSE(ParseText(broken).ok());
  }
}

TEST(GgufFile, MissingFileIsNotFound) {
  EXPECT_EQ(ExitCodeOf(GgufFile::Open("/nonexistent/model.gguf").status()), ExitCode::kBadInputFile);
}

TEST(GgufFile, GoldenModelsAreReadAndUnderstood) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(GoldenPath("golden"))) {
    if (entry.path().extension() != ".gguf" || entry.path().filename() == "glm4-tiny-lora.gguf") continue;
    const auto file = GgufFile::Open(entry.path());
    ASSERT_TRUE(file.ok()) << Message(file.status());
    const auto h = ReadHyperparameters(**file);
    ASSERT_TRUE(h.ok()) << Message(h.status());
    EXPECT_EQ(h->architecture->name, "glm4");
    EXPECT_EQ(h->layers, 2);
    EXPECT_EQ(h->hidden, 256);
    EXPECT_EQ(h->heads, 4);
    EXPECT_EQ(h->kv_heads, 2);
    EXPECT_EQ(h->head_size, 64);
    EXPECT_EQ(h->rotary_size, 32);
    EXPECT_EQ(h->vocabulary, 512);
    EXPECT_TRUE(h->qkv_bias);
    ++count;
  }
  EXPECT_GT(count, 0);
}

TEST(GgufWriter, LeavesNothingBehindWithoutFinish) {
  const auto folder = TemporaryDirectory::Make();
  {
    auto writer = GgufWriter::Create(folder->path() / "model.gguf");
    ASSERT_TRUE(writer.ok());
    (*writer)->AddString("a", "b");
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder->path()));
}

TEST(GgufWriter, PutsNoFileInThePlaceOfAPipeOrDevice) {
  const auto folder = TemporaryDirectory::Make();
  const std::filesystem::path pipe = folder->path() / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(ExitCodeOf(GgufWriter::Create(pipe).status()), ExitCode::kFailed);
  EXPECT_EQ(ExitCodeOf(GgufWriter::Create(folder->path()).status()), ExitCode::kFailed);
  EXPECT_EQ(ExitCodeOf(GgufWriter::Create(folder->path() / "none" / "model.gguf").status()), ExitCode::kFailed);
  EXPECT_TRUE(std::filesystem::is_fifo(pipe));
}

TEST(GgufWriter, RefusesToFinishWithBytesMissing) {
  const auto folder = TemporaryDirectory::Make();
  auto writer = *GgufWriter::Create(folder->path() / "model.gguf");
  const int64_t extent[] = {8};
  writer->DeclareTensor("x", BlockType::kF32, extent);
  EXPECT_FALSE(writer->Finish().ok());
}

}  // namespace
}  // namespace fedglm
