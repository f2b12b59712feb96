// Random schemas, and random answers under their grammars: each must be JSON, and valid by another's reading.
#include "base/json.h"
#include "tests/inference/grammar/random_answer.h"
#include "tests/inference/grammar/schema_validator.h"
#include "tests/support/effort.h"

namespace fedglm {
namespace {

class SchemaGenerator {
 public:
  explicit SchemaGenerator(uint64_t seed) : random_(seed) {}

  Json Make() {
    Json schema = Value(3);
    // What references name. "tree" contains itself.
    schema["$defs"]["tree"] = {
        {"type", "object"},
        {"properties",
         {{"label", {{"type", "string"}, {"maxLength", 5}}},
          {"children", {{"type", "array"}, {"items", {{"$ref", "#/$defs/tree"}}}, {"maxItems", 2}}}}},
        {"required", {"label"}},
        {"additionalProperties", false}};
    schema["$defs"]["small"] = {{"type", "integer"}, {"minimum", -3}, {"maximum", 12}};
    return schema;
  }

 private:
  uint64_t Below(uint64_t limit) { return random_() % limit; }
  bool Chance(uint64_t of_ten) { return Below(10) < of_ten; }
  int64_t Between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(Below(static_cast<uint64_t>(high - low + 1)));
  }

  Json Value(int depth) {
    switch (Below(depth > 0 ? 11 : 5)) {
      case 0:
        return String();
      case 1:
        return Number();
      case 2:
        return Json{{"type", Chance(5) ? "boolean" : "null"}};
      case 3:
        return Enum();
      case 4:
        return Json{{"$ref", Chance(5) ? "#/$defs/tree" : "#/$defs/small"}, {"description", "a reference"}};
      case 5:
      case 6:
        return Object(depth);
      case 7:
      case 8:
        return Array(depth);
      case 9:
        return Alternatives(depth);
      default:
        return AllOf(depth);
    }
  }

  Json String() {
    Json schema = {{"type", "string"}};
    const char* const patterns[] = {"^[A-Z]{2,4}-\\d+$", "^(red|green|blue)?$", "[0-9]", "^\\w+@\\w+\\.(org|net)$",
                                    "^[^x\\s]{1,5}$",    "^\"\\\\?\"$",         "a|^b"};
    const char* const formats[] = {"date", "time", "date-time", "uuid"};
    if (Chance(3)) {
      schema["pattern"] = patterns[Below(std::size(patterns))];
    } else if (Chance(3)) {
      schema["format"] = formats[Below(std::size(formats))];
    } else {
      if (Chance(5)) schema["minLength"] = Below(4);
      if (Chance(5)) schema["maxLength"] = 4 + Below(30);
    }
    if (Chance(1)) schema["nullable"] = true;
    return schema;
  }

  Json Number() {
    const bool integers = Chance(5);
    Json schema = {{"type", integers ? "integer" : "number"}};
    const int64_t low = Chance(2) ? Between(-1'000'000'000'000, 1'000'000'000'000) : Between(-200, 200);
    const int64_t high = low + (Chance(3) ? Between(2, 5) : Between(2, 100'000));
    const double scale = integers || Chance(5) ? 1 : 100;
    const auto bound = [&](int64_t value) -> Json {
      return scale == 1 ? Json(value) : Json(static_cast<double>(value) / scale);
    };
    if (Chance(6)) schema[Chance(7) ? "minimum" : "exclusiveMinimum"] = bound(low);
    if (Chance(6)) schema[Chance(7) ? "maximum" : "exclusiveMaximum"] = bound(high);
    return schema;
  }

  Json Enum() {
    const Json values = {"a", "\"quoted\"\n", 1, -2.5, nullptr, true, Json::array({1, "x"}), Json{{"k", "ü"}}};
    if (Chance(3)) return Json{{"const", values[Below(values.size())]}};
    Json list = Json::array();
    for (const Json& value : values) {
      if (Chance(4)) list.push_back(value);
    }
    if (list.empty()) list.push_back("only");
    return Json{{"enum", list}};
  }

  Json Object(int depth) {
    Json schema = {{"type", "object"}};
    const char* const names[] = {"name", "na", "age", "\"", "größe", "a b", "nested", "x/y"};
    Json required = Json::array();
    for (const char* const name : names) {
      if (!Chance(4)) continue;
      schema["properties"][name] = Value(depth - 1);
      if (Chance(5)) required.push_back(name);
    }
    if (Chance(8)) schema["required"] = required;
    if (Chance(5)) schema["additionalProperties"] = Chance(4) ? Json(false) : Chance(5) ? Json(true) : Value(0);
    return schema;
  }

  Json Array(int depth) {
    Json schema = {{"type", "array"}};
    const bool tuple = Chance(3);
    for (uint64_t i = 0; tuple && i < 1 + Below(3); ++i) schema["prefixItems"].push_back(Value(depth - 1));
    if (Chance(8)) schema["items"] = Value(depth - 1);
    if (Chance(5)) schema["minItems"] = Below(4);
    if (Chance(7)) schema["maxItems"] = 3 + Below(4);
    return schema;
  }

  Json Alternatives(int depth) {
    if (Chance(5)) return Json{{"anyOf", Json::array({Value(depth - 1), Value(depth - 1)})}};
    // Told apart by a constant, as discriminated unions are.
    Json schema;
    for (const char* const kind : {"circle", "square"}) {
      schema["oneOf"].push_back(Json{{"type", "object"},
                                     {"properties", {{"kind", {{"const", kind}}}, {"value", Value(depth - 1)}}},
                                     {"required", {"kind"}}});
    }
    return schema;
  }

  Json AllOf(int depth) {
    return Json{
        {"allOf",
         {{{"type", "object"}, {"properties", {{"base", Value(depth - 1)}}}, {"required", {"base"}}},
          {{"properties", {{"more", Value(depth - 1)}, {"base", true}}}, {"additionalProperties", Chance(5)}}}}};
  }

  std::mt19937_64 random_;
};

TEST(RandomSchemas, TwoHundredOfTwoHundredAnswersAreValid) {
  const auto tokenizer = RealTokenizer();
  ASSERT_NE(tokenizer, nullptr);
  const RandomWriter writer(*tokenizer);
  std::mt19937_64 random(20261124);
  const int64_t wanted = Repetitions(200);
  int64_t answers = 0, bytes = 0;
  for (uint64_t seed = 1; answers < wanted; ++seed) {
    ASSERT_LT(seed, 400u) << "too many schemas without any value";
    const Json schema = SchemaGenerator(seed).Make();
    const auto text = JsonSchemaToGrammar(schema);
    ASSERT_TRUE(text.ok()) << Message(text.status()) << "\n" << DumpJson(schema, 1);
    const auto grammar = ParseGrammar(*text);
    ASSERT_TRUE(grammar.ok()) << Message(grammar.status()) << "\n" << *text;
    const RandomAnswer answer = writer.Write(*grammar, random, 40 + static_cast<int>(seed % 120));
    EXPECT_TRUE(answer.ended) << answer.text << "\n" << DumpJson(schema, 1);
    EXPECT_TRUE(nlohmann::json::accept(answer.text)) << answer.text << "\n" << DumpJson(schema, 1);
    const Json value = Json::parse(answer.text, nullptr, /*allow_exceptions=*/false);
    EXPECT_TRUE(SchemaValidator(schema).IsValid(value)) << answer.text << "\n" << DumpJson(schema, 1);
    EXPECT_TRUE(Matches(**grammar, answer.text)) << answer.text;
    ++answers;
    bytes += static_cast<int64_t>(answer.text.size());
  }
  EXPECT_GT(bytes, 50 * wanted) << "the answers are too small to show anything";
}

TEST(RandomSchemas, TheValidatorTellsValidFromInvalid) {
  const Json schema =
      Json::parse(R"({"type":"object","properties":{"a":{"type":"integer","minimum":3}},"required":["a"],
                                      "additionalProperties":false})");
  EXPECT_TRUE(SchemaValidator(schema).IsValid({{"a", 3}}));
  EXPECT_FALSE(SchemaValidator(schema).IsValid({{"a", 2}}));
  EXPECT_FALSE(SchemaValidator(schema).IsValid({{"a", 3}, {"b", 1}}));
  EXPECT_FALSE(SchemaValidator(schema).IsValid(Json::object()));
  EXPECT_FALSE(SchemaValidator(schema).IsValid("a"));
}

}  // namespace
}  // namespace fedglm
