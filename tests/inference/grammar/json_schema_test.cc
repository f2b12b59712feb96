// JSON Schema's keywords, each with texts that its grammar allows and texts that it refuses.

#include "base/json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "inference/grammar/grammar.h"
#include "tests/support/thread_seconds.h"

namespace fedglm {
namespace {

struct Case {
  std::string schema;
  std::vector<std::string> allowed, refused;
};

void Check(const std::vector<Case>& cases) {
  for (const Case& one : cases) {
    const auto text = JsonSchemaToGrammar(Json::parse(one.schema));
    ASSERT_TRUE(text.ok()) << Message(text.status()) << "\n" << one.schema;
    const auto grammar = ParseGrammar(*text);
    ASSERT_TRUE(grammar.ok()) << Message(grammar.status()) << "\n" << *text;
    for (const std::string& json : one.allowed) EXPECT_TRUE(Matches(**grammar, json)) << one.schema << " and " << json;
    for (const std::string& json : one.refused) EXPECT_FALSE(Matches(**grammar, json)) << one.schema << " and " << json;
  }
}

TEST(JsonSchema, Types) {
  Check({
      {"{}", {"1", "\"a\"", "[1, {}]", "null"}, {"", "a", "[1,]"}},
      {"true", {"{}"}, {}},
      {R"({"type":"string"})", {R"("")", R"("a\n\u00e9é🦜\"")"}, {R"("a)", "a", R"("\ud800")", R"("\x")", "\"\n\""}},
      {R"({"type":"integer"})", {"0", "-7", "120"}, {"01", "1.5", "1e3", "+1"}},
      {R"({"type":"number"})", {"0", "-7.25", "1e10", "2.5E-3"}, {"01", ".5", "1.", "-"}},
      {R"({"type":["boolean","null"]})", {"true", "false", "null"}, {"0", "True"}},
      {R"({"type":"integer","nullable":true})", {"1", "null"}, {"1.5"}},
      {R"({"enum":["a",1,null,[1],{"k":"é"}]})", {R"("a")", "1", "null", "[1]", R"({"k":"é"})"}, {"2", R"("b")"}},
      {R"({"enum":["a",1,2.5,true],"type":["integer","string"]})", {R"("a")", "1"}, {"2.5", "true"}},
      {R"({"const":"\"\\"})", {R"("\"\\")"}, {R"("")"}},
      {R"({"anyOf":[{"type":"integer"},{"type":"boolean"},false]})", {"1", "true"}, {R"("a")"}},
  });
}

TEST(JsonSchema, NumbersWithinBounds) {
  Check({
      {R"({"type":"integer","minimum":0})", {"0", "10", "12345", "999999999999999"}, {"-1", "-0", "00"}},
      {R"({"type":"integer","minimum":-12,"maximum":105})",
       {"-12", "-9", "-1", "0", "9", "10", "99", "100", "105"},
       {"-13", "-20", "106", "110", "1000", "-100"}},
      {R"({"type":"integer","exclusiveMinimum":9,"exclusiveMaximum":12})", {"10", "11"}, {"9", "12", "1"}},
      {R"({"type":"integer","minimum":1.5,"maximum":3.5})", {"2", "3"}, {"1", "4"}},
      {R"({"type":"integer","maximum":-100})", {"-100", "-101", "-99999"}, {"-99", "0", "100"}},
      {R"({"type":"integer","minimum":9007199254740993,"maximum":9007199254740995})",
       {"9007199254740993", "9007199254740994", "9007199254740995"},
       {"9007199254740992", "9007199254740996"}},
      {R"({"type":"integer","minimum":9223372036854775807})", {"9223372036854775807"}, {"9223372036854775806"}},
      {R"({"type":"number","minimum":0,"maximum":1})",
       {"0", "1", "0.5", "0.0001", "1.0"},
       {"1.1", "1.01", "-0.5", "2"}},
      {R"({"type":"number","exclusiveMinimum":0})", {"0.01", "0.5", "3", "3.14159"}, {"0", "0.0", "-1", "0.00"}},
      {R"({"type":"number","minimum":-1.25,"maximum":2.5})",
       {"-1.25", "-1", "-0.5", "0", "2.5", "2.50", "2.4999"},
       {"-1.26", "-1.251", "2.51", "2.501", "3", "-2"}},
      {R"({"type":"number","minimum":0.5,"maximum":0.75})",
       {"0.5", "0.6", "0.75", "0.51234"},
       {"0", "1", "0.4", "0.76"}},
      {R"({"type":"number","minimum":-1.7976931348623157e308,"maximum":5})", {"5", "-5.5", "-100"}, {"6"}},
      {R"({"multipleOf":1,"minimum":2,"maximum":3})", {"2", "3"}, {"2.5"}},
  });
}

TEST(JsonSchema, EveryIntegerOfARangeAndNoOther) {
  for (const auto& [low, high] :
       {std::pair{-205, 207}, {8, 12}, {99, 101}, {-1000, -90}, {0, 0}, {-7, -7}, {5, 1234}}) {
    const auto text = JsonSchemaToGrammar(Json{{"type", "integer"}, {"minimum", low}, {"maximum", high}});
    ASSERT_TRUE(text.ok());
    const auto grammar = ParseGrammar(*text);
    ASSERT_TRUE(grammar.ok()) << Message(grammar.status()) << *text;
    for (int i = -1500; i <= 1500; ++i) {
      EXPECT_EQ(Matches(**grammar, std::to_string(i)), low <= i && i <= high) << i << " in " << low << "…" << high;
    }
  }
}

TEST(JsonSchema, Strings) {
  Check({
      {R"({"type":"string","minLength":2,"maxLength":3})",
       {R"("ab")", R"("é🦜\n")", R"("\u0041bc")"},
       {R"("a")", R"("abcd")"}},
      {R"({"maxLength":0})", {R"("")"}, {R"("a")"}},
      {R"({"maxLength":2147483647})", {R"("abc")"}, {"1"}},
      {R"({"pattern":"^[a-c]+\\d{2}$"})", {R"("a12")", R"("cab99")"}, {R"("12")", R"("a1")", R"("a123")", R"("xa12")"}},
      {R"({"pattern":"b+"})", {R"("b")", R"("abbc\n")"}, {R"("ac")"}},
      {R"({"pattern":"^a|z$"})", {R"("abc")", R"("xyz")"}, {R"("ba")"}},
      {R"({"pattern":"^(?:yes|no)?(?<rest>!*?)$"})", {R"("")", R"("yes")", R"("no!!")"}, {R"("yesno")"}},
      {R"({"pattern":"^[^\"\\\\]\"\\\\$"})", {R"("x\"\\")"}, {R"("\"\"\\")"}},
      {R"({"pattern":"^\\w\\s\\S\\D\\.\\u00e9\\x41$"})", {R"("a b..éA")", R"("_\tzz.éA")"}, {R"("a bb1.éA")"}},
      {R"({"pattern":"^[a-f]{4}$","minLength":4,"maxLength":10})", {R"("abcd")"}, {R"("abc")"}},
      {R"({"format":"date"})",
       {R"("2024-02-29")", R"("2026-11-30")", R"("2000-02-29")"},
       {R"("2023-02-29")", R"("1900-02-29")", R"("2026-11-31")", R"("2026-13-01")", R"("2026-00-10")",
        R"("26-01-01")"}},
      {R"({"format":"time"})", {R"("23:59:59Z")", R"("00:00:00.5+02:00")"}, {R"("24:00:00Z")", R"("12:00")"}},
      {R"({"format":"date-time"})",
       {R"("2026-11-24T23:08:28Z")"},
       {R"("2026-11-24 23:08:28Z")", R"("2026-11-24T23:08:28")"}},
      {R"({"format":"uuid"})", {R"("123e4567-e89b-12d3-a456-426614174000")"}, {R"("123e4567")"}},
      {R"({"type":"string","format":"email"})", {R"("any text")"}, {"1"}},
  });
}

TEST(JsonSchema, Objects) {
  Check({
      {R"({"type":"object"})", {"{}", R"({"a": 1, "b": [{}]})"}, {"[]", R"({"a"})", R"({a:1})"}},
      {R"({"properties":{"a":{"type":"integer"},"b":{"type":"boolean"}},"required":["a","b"]})",
       {R"({"a":1,"b":true})", "{\n  \"a\": 1,\n  \"b\": false\n}"},
       {"{}", R"({"a":1})", R"({"b":true,"a":1})", R"({"a":1,"b":true,"c":1})", R"({"a":1,"b":true,})"}},
      {R"({"properties":{"a":{"const":1},"b":{"const":2},"c":{"const":3}},"required":["b"]})",
       {R"({"b":2})", R"({"a":1,"b":2})", R"({"b":2,"c":3})", R"({"a":1,"b":2,"c":3})"},
       {"{}", R"({"a":1})", R"({"a":1,"c":3})", R"({,"b":2})", R"({"c":3,"b":2})"}},
      {R"({"properties":{"a":{"const":1},"b":{"const":2}}})",
       {"{}", R"({"a":1})", R"({"b":2})", R"({"a":1,"b":2})"},
       {R"({"a":1"b":2})"}},
      {R"({"properties":{"ab":{"const":1}},"additionalProperties":{"type":"string"}})",
       {"{}", R"({"ab":1})", R"({"ab":1,"a":"x","abc":"y"})", R"({"":"x"})", R"({"b":"x"})"},
       {R"({"ab":"x"})", R"({"a":1})", R"({"\u0061b":"x"})", R"({"ab":1,"ab":"x"})"}},
      {R"({"properties":{"a":false,"b":{"const":2}}})", {"{}", R"({"b":2})"}, {R"({"a":1})"}},
      {R"({"properties":{"x\"\n":{"const":1}},"required":["x\"\n"]})", {R"({"x\"\n":1})"}, {R"({"x":1})"}},
      {R"({"type":"object","required":["a"]})", {R"({"a":null})", R"({"a":{}, "b":1})"}, {"{}", R"({"b":1})"}},
      {R"({"additionalProperties":{"type":"integer"}})", {"{}", R"({"x":1,"y":2})"}, {R"({"x":"1"})"}},
      {R"({"properties":{"a":{"type":"null"}},"minProperties":1,"maxProperties":1,"required":["a"]})",
       {R"({"a":null})"},
       {"{}"}},
  });
}

TEST(JsonSchema, Arrays) {
  Check({
      {R"({"type":"array"})", {"[]", "[1, \"a\"]"}, {"{}", "[1 2]"}},
      {R"({"items":{"type":"integer"}})", {"[]", "[1]", "[1, 2,3]"}, {"[\"a\"]", "[1,]", "[,1]"}},
      {R"({"items":{"const":1},"minItems":2,"maxItems":3})", {"[1,1]", "[1,1,1]"}, {"[]", "[1]", "[1,1,1,1]"}},
      {R"({"items":{"const":1},"maxItems":0})", {"[]"}, {"[1]"}},
      {R"({"items":false})", {"[]"}, {"[1]"}},
      {R"({"prefixItems":[{"const":1},{"const":2}]})", {"[1,2]"}, {"[]", "[1]", "[2,1]", "[1,2,3]"}},
      {R"({"prefixItems":[{"const":1},{"const":2}],"minItems":0,"items":{"const":3}})",
       {"[]", "[1]", "[1,2]", "[1,2,3,3]"},
       {"[2]", "[1,3]", "[3]"}},
      {R"({"prefixItems":[{"const":1},{"const":2}],"minItems":1,"maxItems":2})", {"[1]", "[1,2]"}, {"[]", "[1,2,3]"}},
      {R"({"items":[{"const":1}],"additionalItems":{"const":2},"maxItems":2})", {"[1]", "[1,2]"}, {"[2]", "[1,2,2]"}},
      {R"({"minItems":1})", {"[null]", "[1,[]]"}, {"[]"}},
  });
}

TEST(JsonSchema, Combinations) {
  Check({
      {R"({"$defs":{"n":{"type":"integer"}},"items":{"$ref":"#/$defs/n"}})", {"[1]"}, {"[\"a\"]"}},
      {R"({"properties":{"v":{"const":1},"next":{"$ref":"#"}},"required":["v"]})",
       {R"({"v":1})", R"({"v":1,"next":{"v":1,"next":{"v":1}}})"},
       {R"({"v":1,"next":{}})"}},
      {R"({"definitions":{"a/b~c%":{"const":1}},"$ref":"#/definitions/a~1b~0c%25"})", {"1"}, {"2"}},
      {R"({"$defs":{"p":{"type":"integer","minimum":0}},"$ref":"#/$defs/p","maximum":5})", {"0", "5"}, {"6", "-1"}},
      {R"({"allOf":[{"type":"integer"},{"minimum":3},{"maximum":4}]})", {"3", "4"}, {"2", "5", "3.5"}},
      {R"({"allOf":[{"properties":{"a":{"type":"integer"}},"required":["a"]},
                    {"properties":{"a":{"maximum":5},"b":{"const":2}},"required":["b"]}]})",
       {R"({"a":5,"b":2})"},
       {R"({"a":6,"b":2})", R"({"a":5})"}},
      {R"({"allOf":[{"properties":{"a":{"const":1}},"additionalProperties":false},{"properties":{"b":{"const":2}}}]})",
       {"{}", R"({"a":1})"},
       {R"({"b":2})"}},
      {R"({"allOf":[{"enum":[1,2,3]},{"enum":[2,3,4]}]})", {"2", "3"}, {"1", "4"}},
      {R"({"allOf":[{"anyOf":[{"minimum":1},{"type":"string"}]},)"
       R"({"anyOf":[{"maximum":2},{"type":"null"}]},{"type":"integer"}]})",
       {"1", "2"},
       {"0", "3", "null"}},
      {R"({"type":"object","properties":{"a":{"const":1},")"
       R"(b":{"const":2}},"anyOf":[{"required":["a"]},{"required":["b"]}]})",
       {R"({"a":1})", R"({"b":2})", R"({"a":1,"b":2})"},
       {"{}"}},
  });
}

TEST(JsonSchema, SaysWhereAndWhatItCannotDo) {
  const auto error = [](const std::string& schema) {
    const auto text = JsonSchemaToGrammar(Json::parse(schema));
    EXPECT_EQ(ExitCodeOf(text.status()), ExitCode::kUsage) << schema << (text.ok() ? *text : "");
    EXPECT_EQ(Message(text.status()).find('\n'), std::string::npos);
    return Message(text.status());
  };
  EXPECT_EQ(error("false"), "#: no value is valid: the schema is false");
  EXPECT_EQ(error("3"), "#: a schema must be an object, true or false");
  EXPECT_EQ(error(R"({"properties":{"age":{"type":"int"}}})"), "#/properties/age: the type 'int' is not known");
  EXPECT_EQ(error(R"({"properties":{"a":{"items":{"not":{}}}}})"), "#/properties/a/items: 'not' is not supported");
  EXPECT_EQ(error(R"({"properties":{"a":false},"required":["a"]})"),
            "#/properties/a: no value is valid: the schema is false");
  EXPECT_EQ(error(R"({"enum":["a"],"type":"integer"})"), "#: no value is valid: none of its alternatives has one");
  EXPECT_EQ(error(R"({"enum":[5],"minimum":3})"), "#: 'minimum' beside enum or const is not supported");
  EXPECT_EQ(error(R"({"$ref":"#/$defs/x"})"), "#: $ref '#/$defs/x' names nothing");
  EXPECT_THAT(error(R"({"$ref":"https://example.org/a.json"})"), testing::HasSubstr("does not begin with #/"));
  EXPECT_THAT(error(R"({"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"anyOf":[{"$ref":"#/$defs/a"}]}},"$ref":"#/$defs/a"})"),
              testing::HasSubstr("leads back to itself"));
  EXPECT_THAT(error(R"({"$defs":{"a":{"$ref":"#/$defs/a","minimum":1}},"$ref":"#/$defs/a"})"),
              testing::HasSubstr("leads back to itself"));
  EXPECT_THAT(error(R"({"$defs":{"a":{"allOf":[{"$ref":"#/$defs/a"},{"minimum":1}]}},"$ref":"#/$defs/a"})"),
              testing::HasSubstr("leads back to itself"));
  EXPECT_EQ(error(R"({"minLength":3,"maxLength":2})"), "#: no value is valid: minLength is above maxLength");
  EXPECT_EQ(error(R"({"minItems":20000})"), "#: minItems above 10000 is not supported");
  EXPECT_EQ(error(R"({"type":"integer","minimum":3,"maximum":2})"),
            "#: no value is valid: there is no such number between the bounds");
  EXPECT_EQ(error(R"({"type":"integer","minimum":1.2,"maximum":1.8})"),
            "#: no value is valid: there is no such number between the bounds");
  EXPECT_EQ(error(R"({"minimum":"3"})"), "#: 'minimum' must be a number");
  EXPECT_EQ(error(R"({"pattern":"(?=a)b"})"),
            "#/pattern: the pattern has look-around or flags, which are not supported");
  EXPECT_EQ(error(R"({"pattern":"(a"})"), "#/pattern: the pattern has a group that does not end");
  EXPECT_EQ(error(R"({"pattern":"(a)\\1"})"), "#/pattern: the pattern has the escape \\1, which is not supported");
  EXPECT_THAT(error(R"({"pattern":"^a*$","maxLength":3})"), testing::HasSubstr("write them into the pattern"));
  EXPECT_EQ(error(R"({"anyOf":[]})"), "#: 'anyOf' must be a list that is not empty");
  EXPECT_EQ(error(R"({"properties":[1]})"), "#: 'properties' must be an object");
  EXPECT_EQ(error(R"({"required":[1]})"), "#: 'required' must be a list of strings");
}

// Nothing here may take long, or throw.
TEST(JsonSchema, BoundsTheWorkOnHostileSchemas) {
  const double begin = ThreadSeconds();
  const auto convert = [](const Json& schema) {
    const auto text = JsonSchemaToGrammar(schema);
    if (text.ok()) return ParseGrammar(*text).status();
    return text.status();
  };
  // Each definition has the next one twice: 2^60 alternatives, if they were written out.
  Json doubling = {{"$ref", "#/$defs/d0"}};
  Json merging = {{"$ref", "#/$defs/d0"}, {"title", "x"}, {"minimum", 0}};
  for (int i = 0; i < 60; ++i) {
    const std::string next = "#/$defs/d" + std::to_string(i + 1);
    doubling["$defs"]["d" + std::to_string(i)] = {{"anyOf", {{{"$ref", next}}, {{"items", {{"$ref", next}}}}}}};
    merging["$defs"]["d" + std::to_string(i)] = {
        {"anyOf", {{{"$ref", next}, {"maximum", i}}, {{"$ref", next}, {"maximum", 9}}}}};
  }
  doubling["$defs"]["d60"] = {{"const", 1}};
  merging["$defs"]["d60"] = {{"type", "integer"}};
  EXPECT_TRUE(convert(doubling).ok()) << Message(convert(doubling));
  EXPECT_EQ(ExitCodeOf(convert(merging)), ExitCode::kUsage);

  Json deep = {{"type", "integer"}};
  for (int i = 0; i < 2000; ++i) deep = Json{{"items", deep}};
  EXPECT_EQ(ExitCodeOf(convert(deep)), ExitCode::kUsage);
  Json wide = {{"type", "object"}};
  for (int i = 0; i < 1000; ++i)
    wide["properties"]["property" + std::to_string(i)] = {{"type", "integer"}, {"minimum", i}};
  EXPECT_TRUE(convert(wide).ok()) << Message(convert(wide));
  EXPECT_EQ(ExitCodeOf(convert({{"pattern", std::string(5000, '(')}})), ExitCode::kUsage);
  EXPECT_EQ(ExitCodeOf(convert({{"pattern", "^((a{1,9999}){1,9999}){1,1000000000}$"}})), ExitCode::kUsage);
  EXPECT_TRUE(convert({{"pattern", "^(((a*)*)*)*$"}}).ok());
  EXPECT_EQ(ExitCodeOf(convert({{"properties", {{"a", {{"$ref", "#"}}}}}, {"required", {"a"}}})), ExitCode::kUsage);
  EXPECT_LT(ThreadSeconds() - begin, 120);
}

}  // namespace
}  // namespace fedglm
