#include "base/utf8.h"

#include <gtest/gtest.h>

#include <vector>

namespace fedglm {
namespace {

struct Character {
  CodePoint code;
  std::string bytes;
};
// The first and last of each length, and both neighbours of the surrogates.
const std::vector<Character> kCharacters = {{0, std::string(1, '\0')},
                                            {0x7F, "\x7F"},
                                            {0x80, "\xC2\x80"},
                                            {0x7FF, "\xDF\xBF"},
                                            {0x800, "\xE0\xA0\x80"},
                                            {0xD7FF, "\xED\x9F\xBF"},
                                            {0xE000, "\xEE\x80\x80"},
                                            {0xFFFF, "\xEF\xBF\xBF"},
                                            {0x10000, "\xF0\x90\x80\x80"},
                                            {kMaxCodePoint, "\xF4\x8F\xBF\xBF"}};

TEST(Utf8, CharactersAreWrittenAndTakenAsTheStandardHasThem) {
  for (const auto& [code, bytes] : kCharacters) {
    std::string written;
    AppendUtf8(written, code);
    EXPECT_EQ(written, bytes) << code;
    EXPECT_EQ(Utf8CharacterSize(bytes + "x"), bytes.size());
    const std::string text = bytes + "x";
    std::string_view rest = text;
    CodePoint taken = 1;
    EXPECT_TRUE(TakeUtf8(rest, taken));
    EXPECT_EQ(taken, code);
    EXPECT_EQ(rest, "x");
  }
}

TEST(Utf8, WhatIsNoCharacterIsNotTaken) {
  for (const std::string bytes : {"", "\x80", "\xC1\xBF", "\xC2", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xE2\x82",
                                  "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF"}) {
    std::string_view rest = bytes;
    CodePoint taken = 7;
    EXPECT_EQ(Utf8CharacterSize(bytes), 0u);
    EXPECT_FALSE(TakeUtf8(rest, taken));
    EXPECT_EQ(rest, bytes);
    EXPECT_EQ(taken, 7u);
    EXPECT_EQ(ValidUtf8Prefix("é" + bytes), 2u);
  }
  EXPECT_EQ(ValidUtf8Prefix("a微é"), 6u);
}

TEST(Utf8, OneLineIsWhatNoTerminalObeys) {
  EXPECT_EQ(OneLine("two\nlines\r\t\x1b[2J\x7f é微"), "two lines   [2J  é微");
  EXPECT_EQ(OneLine("\xC2\x9B"
                    "31m \x9B"
                    "31m \xE2\x82"),
            " 31m ?31m ??")
      << "the other way to begin a command";
  EXPECT_EQ(OneLine("abc", 3), "abc");
  EXPECT_EQ(OneLine("abcd", 3), "abc...");
  EXPECT_EQ(OneLine("ab微", 4), "ab...") << "no character is cut in two";
  EXPECT_EQ(OneLine(std::string(1000, '\n'), 5), "     ...");
}

}  // namespace
}  // namespace fedglm
