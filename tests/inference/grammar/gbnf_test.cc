// GBNF: what texts a grammar allows, and what is refused.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "inference/grammar/grammar.h"
#include "tests/support/thread_seconds.h"

namespace fedglm {
namespace {

bool Allows(const std::string& gbnf, const std::string& text) {
  const auto grammar = ParseGrammar(gbnf);
  EXPECT_TRUE(grammar.ok()) << Message(grammar.status()) << "\n" << gbnf;
  return grammar.ok() && Matches(**grammar, text);
}

std::string ErrorOf(const std::string& gbnf) {
  const auto grammar = ParseGrammar(gbnf);
  EXPECT_EQ(ExitCodeOf(grammar.status()), ExitCode::kUsage) << gbnf.substr(0, 200);
  EXPECT_EQ(Message(grammar.status()).find('\n'), std::string::npos);
  return Message(grammar.status());
}

TEST(Gbnf, ReadsTheNotation) {
  struct Case {
    std::string gbnf;
    std::vector<std::string> allowed, refused;
  };
  const Case cases[] = {
      {"root ::= \"ab\"", {"ab"}, {"", "a", "abc", "b"}},
      {"root ::= \"a\" | \"bc\" |", {"a", "bc", ""}, {"b", "abc"}},
      {"root ::= (\"a\" | \"b\")* \"c\"", {"c", "abbac"}, {"", "ab"}},
      {"root ::= \"ab\"+", {"ab", "abab"}, {"", "aba"}},
      {"root ::= \"a\"? \"b\"", {"b", "ab"}, {"aab"}},
      {"root ::= [0-9]{2,3}", {"12", "123"}, {"1", "1234"}},
      {"root ::= [0-9]{2}", {"12"}, {"1", "123"}},
      {"root ::= [0-9]{2,}", {"12", "12345"}, {"1"}},
      {"root ::= (\"a\"{0,2} \"b\"){2}", {"bb", "aabab"}, {"b", "aaabb", "bbb"}},
      {"root ::= (\"ab\"+)+ | ((\"c\"*)*)*", {"abab", "", "cc"}, {"ac"}},
      {"root ::= [^a-c]", {"d", "é", "語", "🦜", "\n"}, {"a", "dd", "\xff", "\xed\xa0\x80", "\xc0\x80"}},
      {"root ::= [é-í]+", {"é", "ëí"}, {"e", "î", "\xc3"}},
      {"root ::= [\\U0001F600-\\U0001F64F\\u00e9\\x41]+", {"A", "é", "😀🙏"}, {"🦜", "B"}},
      {"root ::= \"\\n\\t\\\\\\\"\\x41\\u8a9e\"", {"\n\t\\\"A語"}, {"ntA"}},
      {"root ::= [a\\]\\-]+ [-x]", {"a]-x", "a-"}, {"b-"}},
      {"root ::= . .", {"ab", "語🦜"}, {"a", "abc"}},
      {"root ::= a-1 b_2\na-1 ::= \"x\" # comment\n\n# more\nb_2 ::= (\n  \"y\" # within\n  | \"z\"\n)\n",
       {"xy", "xz"},
       {"x"}},
      {"root ::=\n  \"a\" |\n  \"b\"\r\n", {"a", "b"}, {"ab"}},
      {"root ::= \"(\" root? \")\"", {"()", "((()))"}, {"(", "(()", "())"}},
      {"root ::= item list?\nlist ::= \",\" root\nitem ::= [0-9]", {"1", "1,2,3"}, {"1,", ",1"}},
      {"root ::= empty \"a\" empty\nempty ::= \"\"", {"a"}, {"", "aa"}},
      {"root ::= \"a\" root \"b\" | \"a\" root \"c\" | \"d\"", {"d", "adb", "aadbc", "aadcb"}, {"ad", "adbb"}},
      {"root ::= a a\na ::= b?\nb ::= \"x\" a | \"y\"", {"", "xy", "yxx", "xxxy"}, {"yyy"}},
      {"root ::= \"x\" ([] | \"y\")", {"xy"}, {"x"}},
  };
  for (const Case& one : cases) {
    for (const std::string& text : one.allowed) EXPECT_TRUE(Allows(one.gbnf, text)) << one.gbnf << " and " << text;
    for (const std::string& text : one.refused) EXPECT_FALSE(Allows(one.gbnf, text)) << one.gbnf << " and " << text;
  }
}

TEST(Gbnf, RefusesWithTheLine) {
  EXPECT_EQ(ErrorOf(""), "the grammar has no rule 'root'");
  EXPECT_EQ(ErrorOf("start ::= \"a\""), "the grammar has no rule 'root'");
  EXPECT_EQ(ErrorOf("root ::= \"a\"\nroot ::= \"b\""), "line 2: rule 'root' is there twice");
  EXPECT_EQ(ErrorOf("root ::= \"a\"\n\nb ::= missing"), "line 3: rule 'missing' is used but not defined");
  EXPECT_EQ(ErrorOf("root ::= \"a"), "line 1: the line ends within a text or a class");
  EXPECT_EQ(ErrorOf("root ::= [a-"), "line 1: the line ends within a text or a class");
  EXPECT_EQ(ErrorOf("root ::= [z-a]"), "line 1: a range of characters ends before it begins");
  EXPECT_EQ(ErrorOf("root ::= \"\\q\""), "line 1: an unknown escape: \\q");
  EXPECT_EQ(ErrorOf("root ::= \"\\ud800\""), "line 1: an escape names no character");
  EXPECT_EQ(ErrorOf("root ::= \"\\x4\""), "line 1: an escape needs 2 hexadecimal digits");
  EXPECT_EQ(ErrorOf("root ::= (\"a\"\n\"b\""), "line 1: ')' is missing for this group");
  EXPECT_EQ(ErrorOf("root ::= \"a\")"), "line 1: ')' was not expected here");
  EXPECT_EQ(ErrorOf("root ::= *"), "line 1: '*' was not expected here");
  EXPECT_EQ(ErrorOf("root = \"a\""), "line 1: '::=' was expected after 'root'");
  EXPECT_EQ(ErrorOf("\n::= \"a\""), "line 2: a rule was expected: name ::= …");
  EXPECT_EQ(ErrorOf("root ::= \"a\"{3,2}"), "line 1: {m,n} needs m <= n");
  EXPECT_EQ(ErrorOf("root ::= \"a\"{,2}"), "line 1: a number was expected in {…}");
  EXPECT_EQ(ErrorOf("root ::= \"\xff\""), "line 1: the grammar is not valid UTF-8");
  EXPECT_EQ(ErrorOf("root ::= <think>"), "line 1: tokens (<think>, <[1000]>) are not supported: write their text");
}

TEST(Gbnf, RefusesRulesThatCannotBeFollowed) {
  EXPECT_EQ(ErrorOf("root ::= root \"a\" | \"b\""), "line 1: rule 'root' calls itself before it has read anything");
  EXPECT_THAT(ErrorOf("root ::= a\na ::= \"x\"? b\nb ::= a \"y\" | \"z\""), testing::HasSubstr("calls itself before"));
  EXPECT_EQ(ErrorOf("root ::= \"a\"\nx ::= (x \"a\"){2} | \"b\""),
            "line 2: rule 'x' calls itself before it has read anything");
  EXPECT_EQ(ErrorOf("root ::= \"a\" root"), "line 1: rule 'root' can never end");
  EXPECT_EQ(ErrorOf("root ::= []"), "line 1: rule 'root' can never end");
}

// Each ends, with an error or a grammar, within seconds even on a slow and busy machine.
TEST(Gbnf, BoundsTheWorkOnHostileGrammars) {
  const double begin = ThreadSeconds();
  EXPECT_EQ(ErrorOf("root ::= \"a\"{1,1000000000}"), "line 1: at most 10000 repetitions are supported");
  EXPECT_EQ(ErrorOf("root ::= \"a\"{99999999999999999999999999}"), "line 1: at most 10000 repetitions are supported");
  EXPECT_EQ(ErrorOf("root ::= " + std::string(100'000, '(')), "line 1: groups are nested too deeply");
  EXPECT_EQ(ErrorOf("root ::= \"a\"" + std::string(100'000, '*')), "line 1: too many operators in a row");
  EXPECT_EQ(ErrorOf("root ::= \"" + std::string(2'000'000, 'a') + "\""), "the grammar is longer than 1 MiB");
  std::string many;
  for (int i = 0; i < 100; ++i) many += "r" + std::to_string(i) + " ::= [a-z]{10000}\n";
  EXPECT_THAT(ErrorOf("root ::= r0\n" + many), testing::HasSubstr("the grammar is too large"));

  EXPECT_FALSE(Allows("root ::= (((\"a\"{9999}){9999}){9999}){9999}", std::string(30'000, 'a')));
  std::string nested = "\"a\"";
  for (int i = 0; i < 100; ++i) nested = "(" + nested + "+)";
  EXPECT_TRUE(Allows("root ::= " + nested, std::string(10'000, 'a')));
  const auto chain = [](int rules) {
    std::string text = "root ::= r0\n";
    for (int i = 0; i < rules; ++i) text += "r" + std::to_string(i) + " ::= r" + std::to_string(i + 1) + "?\n";
    return text + "r" + std::to_string(rules) + " ::= \"x\"";
  };
  EXPECT_TRUE(Allows(chain(5'000), "x"));
  EXPECT_FALSE(Allows(chain(20'000), "x")) << "beyond the bound on positions nothing is allowed";
  EXPECT_LT(ThreadSeconds() - begin, 120);
}

TEST(Gbnf, ReadsAmbiguousGrammarsInBoundedTime) {
  const double begin = ThreadSeconds();
  EXPECT_TRUE(Allows("root ::= \"a\" root root | \"a\"", std::string(301, 'a')));
  EXPECT_TRUE(Allows("root ::= \"a\" root \"b\" | \"a\" root \"c\" | \"d\"",
                     std::string(2000, 'a') + "d" + std::string(1000, 'b') + std::string(1000, 'c')));
  EXPECT_FALSE(Allows("root ::= (\"a\" | \"a\" \"a\" | \"a\"? \"a\"? \"a\")* \"b\"", std::string(20'000, 'a')));
  std::string wide = "root ::= \"x\"";
  for (int i = 0; i < 1000; ++i) wide += " | .{0,100} \"" + std::to_string(i) + "\"";
  EXPECT_TRUE(Allows(wide, "pppppppppppppppppppp999"));
  EXPECT_LT(ThreadSeconds() - begin, 120);
}

TEST(Gbnf, NamesItsBuiltinGrammars) {
  const auto json = FindBuiltinGrammar("json");
  ASSERT_TRUE(json.ok()) << Message(json.status());
  EXPECT_TRUE(Matches(**json, R"({"a": [1, -2.5e3, "x\n", null, true], "b": {}})"));
  EXPECT_FALSE(Matches(**json, R"({"a": 01})"));
  EXPECT_TRUE(FindBuiltinGrammar("autoglm").ok());
  EXPECT_EQ(Message(FindBuiltinGrammar("xml").status()), "there is no grammar 'xml' (json and autoglm are built in)");
  const auto object = ParseGrammar(JsonObjectGrammar());
  ASSERT_TRUE(object.ok());
  EXPECT_TRUE(Matches(**object, "{\n  \"a\": []\n}"));
  EXPECT_FALSE(Matches(**object, "[]"));
}

}  // namespace
}  // namespace fedglm
