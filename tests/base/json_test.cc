#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include <cmath>
#include <ctime>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/effort.h"

namespace fedglm {
namespace {

std::string Nested(size_t depth, char open, char close) { return std::string(depth, open) + std::string(depth, close); }

TEST(Json, ValuesAndTheOrderOfMembersComeBack) {
  const std::string text = R"({"z":1,"a":[true,false,null,-2,18446744073709551615,0.5,"\"\\\u00e4\n",[],{}],)"
                           R"("m":{"y":{"x":[[1],[2]]},"b":""}})";
  const absl::StatusOr<Json> json = ParseJson(text, "text");
  ASSERT_TRUE(json.ok()) << Message(json.status());
  EXPECT_EQ(*json, Json::parse(text));  // the library's own builder
  std::string order;
  for (const auto& [key, value] : json->items()) order += key;
  EXPECT_EQ(order, "zam");
  EXPECT_TRUE((*json)["a"][4].is_number_unsigned());
  EXPECT_TRUE((*json)["a"][3].is_number_integer());
  EXPECT_EQ(DumpJson(*ParseJson(DumpJson(*json), "again")), DumpJson(*json));
}

TEST(Json, AScalarIsJsonToo) {
  EXPECT_EQ(*ParseJson(" 7 ", "text"), 7);
  EXPECT_EQ(*ParseJson("\"x\"", "text"), "x");
  EXPECT_TRUE(ParseJson("null", "text")->is_null());
}

TEST(Json, MalformedTextIsABadFileThatNamesItsSourceAndThePosition) {
  for (const char* text : {"", "{", "[1,", "{\"a\"}", "{\"a\":1,}", "tru", "1 2", "{'a':1}", "\"open", "[1e999]", "01",
                           "nan", "]", "{\"a\":1}}", "\"\\ud800\"", "\"\x01\""}) {
    const absl::StatusOr<Json> json = ParseJson(text, "records.jsonl:7");
    ASSERT_FALSE(json.ok()) << text;
    EXPECT_EQ(ExitCodeOf(json.status()), ExitCode::kBadInputFile);
    EXPECT_EQ(Message(json.status()).find("records.jsonl:7: "), 0u) << Message(json.status());
    EXPECT_EQ(Message(json.status()).find('\n'), std::string::npos) << Message(json.status());
  }
  EXPECT_NE(Message(ParseJson("{\n  \"a\": x}", "text").status()).find("line 2, column"), std::string::npos);
}

// What stood in the text may be a record: the message tells the place, not the text.
TEST(Json, AnErrorDoesNotRepeatTheText) {
  const std::string message = Message(ParseJson(R"({"prompt": "Patient Meier" "completion"})", "records").status());
  EXPECT_EQ(message.find("Meier"), std::string::npos) << message;
}

TEST(Json, NestingIsLimitedTo128) {
  EXPECT_TRUE(ParseJson(Nested(128, '[', ']'), "text").ok());
  for (const std::string& text : {Nested(129, '[', ']'), Nested(1000000, '[', ']'), std::string(1000000, '['),
                                  "{\"a\":" + Nested(128, '[', ']') + "}"}) {
    const absl::StatusOr<Json> json = ParseJson(text, "text");
    ASSERT_FALSE(json.ok());
    EXPECT_NE(Message(json.status()).find("nested too deeply"), std::string::npos) << Message(json.status());
  }
  // Brackets within strings nest nothing, nor do siblings.
  EXPECT_TRUE(ParseJson("\"" + std::string(1000, '[') + "\\\"[\"", "text").ok());
  std::string siblings = "[[]";
  for (int i = 0; i < 1000; ++i) siblings += ",[]";
  EXPECT_EQ(ParseJson(siblings + "]", "text")->size(), 1001u);
}

TEST(Json, ANameThatIsThereTwiceIsRefused) {
  for (const char* text : {R"({"a":1,"a":1})", R"([{"b":{"a":1,"c":2,"\u0061":3}}])"}) {
    const absl::StatusOr<Json> json = ParseJson(text, "text");
    ASSERT_FALSE(json.ok()) << text;
    EXPECT_NE(Message(json.status()).find("\"a\" is there twice"), std::string::npos) << Message(json.status());
  }
  EXPECT_TRUE(ParseJson(R"({"a":{"a":[{"a":1},{"a":2}]},"b":{"a":1}})", "text").ok()) << "different objects may";
}

// What it takes of the processor, not of the clock: other programs run beside a test.
double ProcessorSecondsOfMembers(int count) {
  std::string text = "{\"first\":0";
  for (int i = 0; i < count; ++i) text += ",\"member" + std::to_string(i) + "\":" + std::to_string(i);
  const std::clock_t begin = std::clock();
  const absl::StatusOr<Json> json = ParseJson(text + "}", "text");
  const std::clock_t end = std::clock();
  EXPECT_TRUE(json.ok());
  EXPECT_EQ(json->size(), static_cast<size_t>(count) + 1);
  return static_cast<double>(end - begin) / CLOCKS_PER_SEC;
}

// The library's builder of ordered objects takes a minute and more for 300,000 members, which a peer could send: a
// hundred times of what 30,000 take.
TEST(Json, AnObjectOfManyMembersTakesLinearTime) {
  EXPECT_LT(ProcessorSecondsOfMembers(300000), 40 * ProcessorSecondsOfMembers(30000));
}

// Shapes that take many times the length of their text.
TEST(Json, MemoryIsLimitedWhateverTheShape) {
  const auto items = static_cast<size_t>(Repetitions(20'000));
  const auto many = [items](const char* begin, const auto& item, const char* end) {
    std::string text = begin;
    for (size_t i = 0; i < items; ++i) text += (i == 0 ? "" : ",") + item(i);
    return text + end;
  };
  const std::vector<std::string> texts = {many(
                                              "[", [](size_t) { return std::string("[]"); }, "]"),
                                          many(
                                              "[", [](size_t) { return std::string("{}"); }, "]"),
                                          many(
                                              "[", [](size_t) { return std::string("[[[0]]]"); }, "]"),
                                          many(
                                              "[", [](size_t i) { return std::to_string(i); }, "]"),
                                          many(
                                              "[", [](size_t) { return "\"" + std::string(40, 'x') + "\""; }, "]"),
                                          many(
                                              "{", [](size_t i) { return "\"" + std::to_string(i) + "\":0"; }, "}"),
                                          many(
                                              "[", [](size_t) { return std::string("{\"a\":{}}"); }, "]"),
                                          "\"" + std::string(1 << 20, 'x') + "\""};
  for (const std::string& text : texts) {
    const std::string shown = text.substr(0, 40);
    // The least that is enough, to a tenth.
    size_t enough = text.size() / 2;
    while (!ParseJson(text, "text", enough).ok()) enough += enough / 10;
    const absl::Status refused = ParseJson(text, "text", enough / 2).status();
    EXPECT_THAT(Message(refused), testing::HasSubstr("text: JSON takes too much memory")) << shown;
    const auto in_use = [] {
      const struct mallinfo2 heap = mallinfo2();  // nothing under a sanitizer, which has a heap of its own
      return static_cast<int64_t>(heap.uordblks + heap.hblkhd);
    };
    const int64_t before = in_use();
    const absl::StatusOr<Json> json = ParseJson(text, "text", enough);
    EXPECT_LT(in_use() - before, static_cast<int64_t>(enough + enough / 2)) << shown;
    EXPECT_TRUE(json.ok());
  }
}

TEST(Json, InvalidUtf8IsRefusedWhenReadAndReplacedWhenWritten) {
  for (const char* text : {"\"\xff\"", "\"\xc3\"", "\"\xc0\xaf\"", "\"\xed\xa0\x80\"", "{\"\x80\":1}"}) {
    EXPECT_EQ(ExitCodeOf(ParseJson(text, "text").status()), ExitCode::kBadInputFile);
  }
  EXPECT_EQ(DumpJson(Json("a\xff"
                          "b")),
            "\"a\xEF\xBF\xBD"
            "b\"");
  EXPECT_EQ(*ParseJson("\"\xe8\x82\xba\"", "text"), "肺");
}

TEST(Json, DumpsOnOneLineOrIndented) {
  const Json json = {{"b", 1}, {"a", Json::array({1, 2})}};
  EXPECT_EQ(DumpJson(json), R"({"b":1,"a":[1,2]})");
  EXPECT_EQ(DumpJson(Json{{"b", 1}}, 2), "{\n  \"b\": 1\n}");
}

class JsonMembers : public testing::Test {
 protected:
  static void ExpectBad(const absl::Status& status, const std::string& part) {
    EXPECT_EQ(ExitCodeOf(status), ExitCode::kBadInputFile);
    EXPECT_NE(Message(status).find(part), std::string::npos) << Message(status);
  }

  const Json object_ = *ParseJson(
      R"({"text":"x","integer":-3,"number":0.5,"yes":true,"nothing":null,"huge":18446744073709551615})", "object");
};

TEST_F(JsonMembers, RequiredOnesAreThereAndOfTheirType) {
  EXPECT_EQ(*RequireString(object_, "text"), "x");
  EXPECT_EQ(*RequireInteger(object_, "integer"), -3);
  EXPECT_EQ(*RequireNumber(object_, "number"), 0.5);
  EXPECT_EQ(*RequireNumber(object_, "integer"), -3.0);
  ExpectBad(RequireString(object_, "absent").status(), "\"absent\" is missing");
  ExpectBad(RequireInteger(object_, "absent").status(), "\"absent\" is missing");
  ExpectBad(RequireNumber(object_, "absent").status(), "\"absent\" is missing");
  ExpectBad(RequireString(object_, "integer").status(), "\"integer\" must be a string");
  ExpectBad(RequireInteger(object_, "number").status(), "\"number\" must be an integer");
  ExpectBad(RequireInteger(object_, "huge").status(), "\"huge\" must be below 2^63");
  ExpectBad(RequireNumber(object_, "text").status(), "\"text\" must be a number");
  ExpectBad(RequireNumber(object_, "nothing").status(), "\"nothing\" must be a number");
}

TEST_F(JsonMembers, OptionalOnesFallBackWhenAbsentOrNullAndAreStillTyped) {
  for (const char* key : {"absent", "nothing"}) {
    EXPECT_EQ(*OptionalString(object_, key, "y"), "y");
    EXPECT_EQ(*OptionalInteger(object_, key, 7), 7);
    EXPECT_EQ(*OptionalNumber(object_, key, 1.5), 1.5);
    EXPECT_EQ(*OptionalBool(object_, key, true), true);
  }
  EXPECT_EQ(*OptionalString(object_, "text", "y"), "x");
  EXPECT_EQ(*OptionalInteger(object_, "integer", 7), -3);
  EXPECT_EQ(*OptionalNumber(object_, "number", 1.5), 0.5);
  EXPECT_EQ(*OptionalBool(object_, "yes", false), true);
  ExpectBad(OptionalString(object_, "yes", "").status(), "\"yes\" must be a string");
  ExpectBad(OptionalInteger(object_, "text", 0).status(), "\"text\" must be an integer");
  ExpectBad(OptionalNumber(object_, "yes", 0).status(), "\"yes\" must be a number");
  ExpectBad(OptionalBool(object_, "integer", false).status(), "\"integer\" must be true or false");
}

TEST_F(JsonMembers, OnlyObjectsHaveMembers) {
  for (const Json& json : {Json(1), Json("text"), Json::array({1}), Json()}) {
    ExpectBad(RequireString(json, "a").status(), "expected a JSON object");
    ExpectBad(OptionalInteger(json, "a", 1).status(), "expected a JSON object");
  }
}

}  // namespace
}  // namespace fedglm
