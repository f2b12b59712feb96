#include "base/digest.h"

#include <gtest/gtest.h>

#include "base/file.h"

namespace fedglm {
namespace {

// FIPS 180-2, appendix B.
const char kOfAbc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const char kOfMillionAs[] = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

TEST(Sha256, KnownVectors) {
  EXPECT_EQ(Sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256Hex("abc"), kOfAbc);
  EXPECT_EQ(Sha256Hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(Sha256Hex(std::string(1000000, 'a')), kOfMillionAs);
}

TEST(Sha256, PiecesGiveTheDigestOfTheWhole) {
  Sha256 hash;
  hash.Update("a");
  hash.Update("");
  const char rest[] = {'b', 'c'};
  hash.Update(std::as_bytes(std::span(rest)));
  Sha256 moved = std::move(hash);
  EXPECT_EQ(HexEncode(moved.Finish()), kOfAbc);
}

TEST(Sha256, FilesAreDigestedWhole) {
  const auto folder = TemporaryDirectory::Make();
  ASSERT_TRUE(WriteFileAtomically(folder->path() / "a", std::string(1000000, 'a')).ok());
  EXPECT_EQ(*Sha256HexOfFile(folder->path() / "a"), kOfMillionAs);
  EXPECT_EQ(Sha256HexOfFile(folder->path() / "missing").status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(Sha256HexOfFile(folder->path()).ok());
}

// RFC 4648, section 10, without the padding.
TEST(Base64Url, KnownVectors) {
  const std::pair<std::string, std::string> vectors[] = {{"", ""},
                                                         {"f", "Zg"},
                                                         {"fo", "Zm8"},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg"},
                                                         {"fooba", "Zm9vYmE"},
                                                         {"foobar", "Zm9vYmFy"},
                                                         {"\xfb\xff\xbf", "-_-_"},
                                                         {std::string("\0\0", 2), "AAA"}};
  for (const auto& [bytes, text] : vectors) {
    EXPECT_EQ(Base64UrlEncode(bytes), text);
    const absl::StatusOr<std::string> decoded = Base64UrlDecode(text);
    ASSERT_TRUE(decoded.ok()) << text;
    EXPECT_EQ(*decoded, bytes);
  }
}

TEST(Base64Url, EveryByteComesBack) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  for (size_t size = 200; size <= bytes.size(); ++size) {
    EXPECT_EQ(*Base64UrlDecode(Base64UrlEncode(bytes.substr(0, size))), bytes.substr(0, size));
  }
}

// One text for one value: anything else would give two spellings of one signature.
TEST(Base64Url, OtherSpellingsAreRefused) {
  for (const char* text : {"Z", "Zm9vY", "Zg==", "Zm+v", "Zm/v", "Zm v", "Zm9v\n", "Zh", "Zm9", "Zm9\xff"}) {
    EXPECT_EQ(ExitCodeOf(Base64UrlDecode(text).status()), ExitCode::kBadInputFile) << text;
  }
}

TEST(IsLowerHex, TakesWhatHexEncodeWrites) {
  const uint8_t bytes[] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
  EXPECT_TRUE(IsLowerHex(HexEncode(bytes)));
  EXPECT_TRUE(IsLowerHex("f"));
  for (const char* text : {"", "A", "0g", "a ", " a", "a\n", "../a", "0x1"}) EXPECT_FALSE(IsLowerHex(text)) << text;
  EXPECT_FALSE(IsLowerHex(std::string_view("a\0", 2)));
}

TEST(IsSha256Hex, TakesSixtyFourDigits) {
  EXPECT_TRUE(IsSha256Hex(Sha256Hex("")));
  EXPECT_FALSE(IsSha256Hex(std::string(63, 'a')));
  EXPECT_FALSE(IsSha256Hex(std::string(65, 'a')));
  EXPECT_FALSE(IsSha256Hex(std::string(64, 'A')));
  EXPECT_FALSE(IsSha256Hex(""));
}

TEST(HexEncode, IsLowerCase) {
  const uint8_t bytes[] = {0x00, 0x0a, 0xff};
  EXPECT_EQ(HexEncode(bytes), "000aff");
}

TEST(EqualInConstantTime, IsEquality) {
  EXPECT_TRUE(EqualInConstantTime("", ""));
  EXPECT_TRUE(EqualInConstantTime("secret", "secret"));
  EXPECT_FALSE(EqualInConstantTime("secret", "secreT"));
  EXPECT_FALSE(EqualInConstantTime("secret", "secre"));
  EXPECT_FALSE(EqualInConstantTime(std::string_view("a\0b", 3), std::string_view("a\0c", 3)));
}

TEST(SecureRandomBytes, HasTheLengthAndDoesNotRepeat) {
  EXPECT_EQ(SecureRandomBytes(0), "");
  const std::string first = SecureRandomBytes(32), second = SecureRandomBytes(32);
  EXPECT_EQ(first.size(), 32u);
  EXPECT_NE(first, second);
  EXPECT_NE(first, std::string(32, '\0'));
}

}  // namespace
}  // namespace fedglm
