// JSON Schema to GBNF. Every object, array and reference becomes a rule, the rest is written where it stands.
#include <algorithm>
#include <cctype>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "base/utf8.h"
#include "inference/grammar/gbnf_text.h"
#include "inference/grammar/grammar.h"
#include "inference/grammar/number_range.h"
#include "inference/grammar/pattern.h"
#include "inference/grammar/schema_merge.h"

namespace fedglm {
namespace {

constexpr int kMaxDepth = 128;                   // of schemas in schemas
constexpr size_t kMaxWork = 1'000'000;           // JSON values that are read or copied
constexpr size_t kMaxGrammar = size_t{1} << 20;  // bytes: what ParseGrammar takes
constexpr int64_t kMaxRepetition = 10'000;       // what GBNF takes
constexpr int64_t kUnbounded = INT64_MAX;

// Keywords that change which values are valid and that no grammar here can keep.
constexpr std::string_view kUnsupported[] = {"not",
                                             "if",
                                             "patternProperties",
                                             "propertyNames",
                                             "dependencies",
                                             "dependentRequired",
                                             "dependentSchemas",
                                             "contains",
                                             "minContains",
                                             "maxContains",
                                             "$dynamicRef",
                                             "$recursiveRef"};

// What a schema means that has no type but one of these.
struct TypeHint {
  std::string_view keyword;
  std::string_view type;
};
constexpr TypeHint kTypeHints[] = {{"properties", "object"},
                                   {"additionalProperties", "object"},
                                   {"required", "object"},
                                   {"minProperties", "object"},
                                   {"maxProperties", "object"},
                                   {"unevaluatedProperties", "object"},
                                   {"items", "array"},
                                   {"prefixItems", "array"},
                                   {"minItems", "array"},
                                   {"maxItems", "array"},
                                   {"uniqueItems", "array"},
                                   {"additionalItems", "array"},
                                   {"pattern", "string"},
                                   {"minLength", "string"},
                                   {"maxLength", "string"},
                                   {"format", "string"},
                                   {"minimum", "number"},
                                   {"maximum", "number"},
                                   {"exclusiveMinimum", "number"},
                                   {"exclusiveMaximum", "number"},
                                   {"multipleOf", "number"}};

// No value is valid. The code is used within this file alone, where an alternative that has none is left out.
absl::Status Impossible(std::string message) { return absl::OutOfRangeError(message); }
bool IsImpossible(const absl::Status& status) { return status.code() == absl::StatusCode::kOutOfRange; }

struct StringFormat {
  std::string_view name;
  std::string_view grammar;
  int64_t shortest, longest;
};
// RFC 3339 and RFC 4122. Days are those that the month has; 29 February in leap years.
constexpr std::string_view kDate =
    R"(([0-9]{4} "-" (("0" [13578] | "1" [02]) "-" ("0" [1-9] | [12] [0-9] | "3" [01]) | )"
    R"(("0" [469] | "11") "-" ("0" [1-9] | [12] [0-9] | "30") | "02-" ("0" [1-9] | "1" [0-9] | "2" [0-8])) | )"
    R"(([0-9]{2} ("0" [48] | [2468] [048] | [13579] [26]) | ([02468] [048] | [13579] [26]) "00") "-02-29"))";
constexpr std::string_view kTime = R"((([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,9})? )"
                                   R"(("Z" | [+-] ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9])))";
constexpr std::string_view kUuid = R"(([0-9a-fA-F]{8} ("-" [0-9a-fA-F]{4}){3} "-" [0-9a-fA-F]{12}))";

const Json* Find(const Json& schema, const char* keyword) {
  const auto found = schema.find(keyword);
  return found == schema.end() ? nullptr : &*found;
}

size_t CountValues(const Json& value) {
  size_t count = 1;
  if (value.is_structured()) {
    for (const Json& member : value) count += CountValues(member);
  }
  return count;
}

class SchemaConverter {
 public:
  explicit SchemaConverter(const Json& root) : root_(root) {}

  absl::StatusOr<std::string> Convert() {
    absl::StatusOr<std::string> expression = Visit(root_, "#", 0);
    if (!expression.ok()) {
      return IsImpossible(expression.status()) ? UsageError(Message(expression.status())) : expression.status();
    }
    return "root ::= " + *expression + "\n" + rules_ + std::string(JsonRules());
  }

 private:
  using Text = absl::StatusOr<std::string>;  // GBNF, alternatives in parentheses

  static absl::Status Unsupported(const std::string& path, std::string_view what) {
    return UsageError(path + ": " + std::string(what));
  }
  static absl::Status NoValue(const std::string& path, std::string_view why) {
    return Impossible(path + ": no value is valid: " + std::string(why));
  }

  absl::Status Charge(size_t work, const std::string& path) {
    work_ += work;
    if (work_ <= kMaxWork && rules_.size() <= kMaxGrammar) return absl::OkStatus();
    return Unsupported(path, "the schema is too large");
  }

  // "address" → "address-7". Names serve those who read the grammar; each begins with a letter.
  std::string NewName(std::string_view hint) {
    std::string name = hint.empty() || std::isalpha(static_cast<unsigned char>(hint[0])) == 0 ? "at-" : "";
    for (const char c : hint.substr(0, 40)) {
      const bool is_name = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
      name += is_name ? c : '-';
    }
    return name + "-" + std::to_string(++names_);
  }
  void AddRule(const std::string& name, const std::string& body) { rules_ += name + " ::= " + body + "\n"; }
  std::string AddNamed(std::string_view hint, const std::string& body) {
    std::string name = NewName(hint);
    AddRule(name, body);
    return name;
  }
  static std::string LastPart(const std::string& path) {
    const size_t slash = path.rfind('/');
    return slash == std::string::npos ? "root" : path.substr(slash + 1);
  }

  // What stands inside another value: references that are open were followed to a place that is not this one.
  Text VisitInner(const Json& schema, const std::string& path, int depth) {
    std::set<std::string> outer;
    outer.swap(open_references_);
    Text text = Visit(schema, path, depth + 1);
    open_references_.swap(outer);
    return text;
  }

  Text Visit(const Json& schema, const std::string& path, int depth) {
    if (depth > kMaxDepth) return Unsupported(path, "the schema is nested too deeply, or leads back to itself");
    FEDGLM_RETURN_IF_ERROR(Charge(1, path));
    if (const absl::Status status = CheckKeywords(schema); !status.ok()) return Annotate(status, path);
    if (schema.is_boolean()) return schema == true ? Text("value") : NoValue(path, "the schema is false");
    for (const std::string_view keyword : kUnsupported) {
      if (schema.contains(std::string(keyword))) {
        return Unsupported(path, "'" + std::string(keyword) + "' is not supported");
      }
    }
    if (const Json* const reference = Find(schema, "$ref"); reference != nullptr && StatesOnly(schema, "$ref")) {
      return VisitReference(reference->get<std::string>(), path, depth);
    }
    if (schema.contains("$ref")) {
      FEDGLM_RETURN_IF_ERROR(Charge(CountValues(schema), path));
      FEDGLM_ASSIGN_OR_RETURN(const Json merged, Dereferenced(schema, path));
      return Visit(merged, path, depth + 1);
    }
    if (schema.contains("allOf")) return VisitAllOf(schema, path, depth);
    for (const char* const keyword : {"anyOf", "oneOf"}) {
      if (schema.contains(keyword)) return VisitAnyOf(schema, keyword, path, depth);
    }
    if (const Json* const nullable = Find(schema, "nullable"); nullable != nullptr) {
      Json rest = schema;
      rest.erase("nullable");
      FEDGLM_RETURN_IF_ERROR(Charge(CountValues(rest), path));
      if (*nullable == false) return Visit(rest, path, depth + 1);
      return JoinAlternatives({Visit(rest, path, depth + 1), Text("null")}, path);
    }
    if (schema.contains("const") || schema.contains("enum")) return VisitEnum(schema, path);
    return VisitTypes(schema, path, depth);
  }

  // Whether nothing but `keyword` decides which values are valid.
  static bool StatesOnly(const Json& schema, std::string_view keyword) {
    for (const auto& [name, value] : schema.items()) {
      if (name != keyword && !IsAnnotation(name)) return false;
    }
    return true;
  }

  static Text JoinAlternatives(std::vector<Text> alternatives, const std::string& path) {
    std::string joined;
    std::vector<std::string> written;
    for (Text& alternative : alternatives) {
      if (IsImpossible(alternative.status())) continue;
      FEDGLM_ASSIGN_OR_RETURN(std::string text, std::move(alternative));
      if (std::find(written.begin(), written.end(), text) == written.end()) written.push_back(std::move(text));
    }
    if (written.empty()) return NoValue(path, "none of its alternatives has one");
    if (written.size() == 1) return written[0];
    for (const std::string& text : written) joined += (joined.empty() ? "(" : " | ") + text;
    return joined + ")";
  }

  // The schema that a JSON pointer within the document ("#/$defs/node") names.
  absl::StatusOr<const Json*> Lookup(const std::string& reference, const std::string& path) const {
    if (reference != "#" && !reference.starts_with("#/")) {
      return Unsupported(path, "$ref '" + reference + "' does not begin with #/, and others are not supported");
    }
    const Json* place = &root_;
    std::string_view rest = std::string_view(reference).substr(1);
    while (!rest.empty()) {
      rest.remove_prefix(1);
      const size_t size = std::min(rest.find('/'), rest.size());
      const std::string key = UnescapePointer(rest.substr(0, size));
      rest.remove_prefix(size);
      const Json* next = nullptr;
      if (place->is_object()) {
        next = Find(*place, key.c_str());
      } else if (place->is_array() && !key.empty() && key.size() < 6 &&
                 key.find_first_not_of("0123456789") == std::string::npos) {
        const size_t index = std::stoul(key);
        next = index < place->size() ? &(*place)[index] : nullptr;
      }
      if (next == nullptr) return Unsupported(path, "$ref '" + reference + "' names nothing");
      place = next;
    }
    return place;
  }

  static std::string UnescapePointer(std::string_view text) {
    std::string plain;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '~' && i + 1 < text.size() && (text[i + 1] == '0' || text[i + 1] == '1')) {
        plain += text[++i] == '0' ? '~' : '/';
      } else if (text.substr(i, 3) == "%25") {
        plain += '%';
        i += 2;
      } else {
        plain += text[i];
      }
    }
    return plain;
  }

  Text VisitReference(const std::string& reference, const std::string& path, int depth) {
    if (open_references_.contains(reference)) return Unsupported(path, "$ref '" + reference + "' leads back to itself");
    const auto [found, is_new] = rule_of_reference_.try_emplace(reference);
    if (!is_new) return found->second;
    FEDGLM_ASSIGN_OR_RETURN(const Json* const target, Lookup(reference, path));
    const std::string name = NewName(LastPart(reference));
    found->second = name;
    open_references_.insert(reference);
    Text body = Visit(*target, reference, depth + 1);
    open_references_.erase(reference);
    // Other rules may have been written that call this one; an empty class is what no text matches.
    AddRule(name, body.ok() ? *body : "[]");
    if (!body.ok()) return body.status();
    return name;
  }

  // Without $ref: what it names, and what stands beside it.
  absl::StatusOr<Json> Dereferenced(Json schema, const std::string& path) {
    for (int steps = 0; schema.is_object() && schema.contains("$ref"); ++steps) {
      if (steps > kMaxDepth) return Unsupported(path, "$ref leads back to itself");
      if (const absl::Status status = CheckKeywords(schema); !status.ok()) return Annotate(status, path);
      FEDGLM_ASSIGN_OR_RETURN(const Json* const target, Lookup(schema["$ref"].get<std::string>(), path));
      schema.erase("$ref");
      if (target->is_object() && target->contains("$ref")) {
        // Its own reference comes first, so that MergeSchemas meets none.
        FEDGLM_RETURN_IF_ERROR(Charge(CountValues(*target) + CountValues(schema), path));
        schema = Json{{"$ref", (*target)["$ref"]}, {"allOf", Json::array({WithoutReference(*target), schema})}};
        continue;
      }
      FEDGLM_ASSIGN_OR_RETURN(schema, Merged(*target, schema, path));
    }
    return schema;
  }
  static Json WithoutReference(Json schema) {
    schema.erase("$ref");
    return schema;
  }

  absl::StatusOr<Json> Merged(const Json& a, const Json& b, const std::string& path) {
    FEDGLM_RETURN_IF_ERROR(Charge(CountValues(a) + CountValues(b), path));
    absl::StatusOr<Json> merged = MergeSchemas(a, b);
    if (!merged.ok()) return Annotate(merged.status(), path);
    return merged;
  }

  Text VisitAllOf(const Json& schema, const std::string& path, int depth) {
    FEDGLM_RETURN_IF_ERROR(Charge(CountValues(schema), path));
    Json whole = schema;
    whole.erase("allOf");
    for (const Json& part : schema["allOf"]) {
      FEDGLM_ASSIGN_OR_RETURN(const Json plain, Dereferenced(part, path));
      FEDGLM_ASSIGN_OR_RETURN(whole, Merged(whole, plain, path));
    }
    return Visit(whole, path, depth + 1);
  }

  // oneOf as well: a grammar cannot count how many of the alternatives a value satisfies.
  Text VisitAnyOf(const Json& schema, const char* keyword, const std::string& path, int depth) {
    Json common = schema;
    common.erase(keyword);
    FEDGLM_RETURN_IF_ERROR(Charge(CountValues(common), path));
    const bool alone = StatesOnly(schema, keyword);
    std::vector<Text> alternatives;
    for (size_t i = 0; i < schema[keyword].size(); ++i) {
      const Json& alternative = schema[keyword][i];
      const std::string place = path + "/" + keyword + "/" + std::to_string(i);
      if (alone) {
        alternatives.push_back(Visit(alternative, place, depth + 1));
        continue;
      }
      FEDGLM_ASSIGN_OR_RETURN(const Json plain, Dereferenced(alternative, place));
      FEDGLM_ASSIGN_OR_RETURN(const Json merged, Merged(common, plain, place));
      alternatives.push_back(Visit(merged, place, depth + 1));
    }
    return JoinAlternatives(std::move(alternatives), path);
  }

  static std::string_view TypeName(const Json& value) {
    if (value.is_null()) return "null";
    if (value.is_boolean()) return "boolean";
    if (value.is_string()) return "string";
    if (value.is_array()) return "array";
    if (value.is_object()) return "object";
    if (value.is_number_integer()) return "integer";
    return "number";
  }

  Text VisitEnum(const Json& schema, const std::string& path) {
    for (const auto& [keyword, value] : schema.items()) {
      if (keyword == "const" || keyword == "enum" || keyword == "type" || IsAnnotation(keyword)) continue;
      for (const TypeHint& hint : kTypeHints) {
        if (hint.keyword == keyword)
          return Unsupported(path, "'" + keyword + "' beside enum or const is not supported");
      }
    }
    const Json* const constant = Find(schema, "const");
    const Json* const list = Find(schema, "enum");
    const Json* const types = Find(schema, "type");
    const Json values = list != nullptr ? *list : Json::array({*constant});
    std::vector<Text> alternatives;
    for (const Json& value : values) {
      if (constant != nullptr && value != *constant) continue;
      if (types != nullptr) {
        const Json wanted = types->is_array() ? *types : Json::array({*types});
        const bool has_type = std::any_of(wanted.begin(), wanted.end(), [&](const Json& type) {
          return type == TypeName(value) || (type == "number" && value.is_number());
        });
        if (!has_type) continue;
      }
      alternatives.push_back(GbnfText(DumpJson(value)));
    }
    return JoinAlternatives(std::move(alternatives), path);
  }

  Text VisitTypes(const Json& schema, const std::string& path, int depth) {
    const Json* const type = Find(schema, "type");
    if (type != nullptr && type->is_string()) return VisitType(type->get<std::string>(), schema, path, depth);
    std::vector<Text> alternatives;
    if (type != nullptr) {
      for (const Json& one : *type) alternatives.push_back(VisitType(one.get<std::string>(), schema, path, depth));
      return JoinAlternatives(std::move(alternatives), path);
    }
    for (const TypeHint& hint : kTypeHints) {
      if (schema.contains(std::string(hint.keyword))) return VisitType(hint.type, schema, path, depth);
    }
    return "value";
  }

  Text VisitType(std::string_view type, const Json& schema, const std::string& path, int depth) {
    if (type == "object") return VisitObject(schema, path, depth);
    if (type == "array") return VisitArray(schema, path, depth);
    if (type == "string") return VisitString(schema, path);
    if (type == "integer" || type == "number") return VisitNumber(schema, type == "integer", path);
    if (type == "boolean" || type == "null") return std::string(type);
    return Unsupported(path, "the type '" + std::string(type) + "' is not known");
  }

  // A count, at most kUnbounded.
  static int64_t Count(const Json& schema, const char* keyword, int64_t fallback) {
    const Json* const count = Find(schema, keyword);
    if (count == nullptr) return fallback;
    const double value = count->get<double>();
    return value < 1e15 ? static_cast<int64_t>(value) : kUnbounded;
  }

  struct Counts {
    int64_t least = 0;
    int64_t most = kUnbounded;
  };
  // GBNF's limit is kept: a text of at most 10,000 characters is one of at most 20,000 too.
  static absl::StatusOr<Counts> ReadCounts(const Json& schema, const char* least, const char* most,
                                           const std::string& path) {
    Counts counts = {Count(schema, least, 0), Count(schema, most, kUnbounded)};
    if (counts.least > counts.most) return NoValue(path, std::string(least) + " is above " + most);
    if (counts.least > kMaxRepetition) {
      return Unsupported(path, std::string(least) + " above " + std::to_string(kMaxRepetition) + " is not supported");
    }
    if (counts.most != kUnbounded) counts.most = std::min(counts.most, kMaxRepetition);
    return counts;
  }
  static std::string Repeated(const std::string& item, int64_t least, int64_t most) {
    return item + "{" + std::to_string(least) + "," + (most == kUnbounded ? "" : std::to_string(most)) + "}";
  }

  Text VisitString(const Json& schema, const std::string& path) {
    FEDGLM_ASSIGN_OR_RETURN(const Counts length, ReadCounts(schema, "minLength", "maxLength", path));
    const Json* const pattern = Find(schema, "pattern");
    const Json* const format = Find(schema, "format");
    PatternGrammar content{.content = "char*", .shortest = 0, .longest = kAnyLength};
    bool is_fixed = false;
    if (format != nullptr) {
      const std::string date(kDate), time(kTime);
      const StringFormat formats[] = {
          {"date", date, 10, 10}, {"time", time, 9, 24}, {"date-time", "", 20, 35}, {"uuid", kUuid, 36, 36}};
      for (const StringFormat& known : formats) {
        if (*format != known.name) continue;
        is_fixed = true;
        content = {std::string(known.grammar), known.shortest, known.longest};
        if (known.name == "date-time") content.content = date + " \"T\" " + time;
      }
    }
    if (pattern != nullptr) {
      if (is_fixed) return Unsupported(path, "'pattern' beside this 'format' is not supported");
      absl::StatusOr<PatternGrammar> read = PatternToGrammar(pattern->get_ref<const std::string&>());
      if (!read.ok()) return Annotate(read.status(), path + "/pattern");
      content = *std::move(read);
      is_fixed = true;
    }
    if (!is_fixed) {
      if (length.least == 0 && length.most == kUnbounded) return "string";
      return "\"\\\"\" " + Repeated("char", length.least, length.most) + " \"\\\"\"";
    }
    if (content.longest < length.least || content.shortest > length.most)
      return NoValue(path, "its lengths contradict");
    if (content.shortest < length.least || content.longest > length.most) {
      return Unsupported(path,
                         "the pattern or format allows lengths that minLength or maxLength forbid: "
                         "write them into the pattern");
    }
    return "\"\\\"\" (" + content.content + ") \"\\\"\"";
  }

  Text VisitNumber(const Json& schema, bool integers, const std::string& path) {
    if (const Json* const divisor = Find(schema, "multipleOf"); divisor != nullptr) {
      if (*divisor != 1) return Unsupported(path, "'multipleOf' is not supported, but for 1");
      integers = true;
    }
    std::optional<NumberBound> minimum, maximum;
    if (const Json* const bound = Find(schema, "minimum"); bound != nullptr) minimum = {*bound, false};
    if (const Json* const bound = Find(schema, "maximum"); bound != nullptr) maximum = {*bound, false};
    if (const Json* const bound = Find(schema, "exclusiveMinimum"); bound != nullptr) {
      if (!minimum || *bound >= minimum->value) minimum = {*bound, true};
    }
    if (const Json* const bound = Find(schema, "exclusiveMaximum"); bound != nullptr) {
      if (!maximum || *bound <= maximum->value) maximum = {*bound, true};
    }
    if (!minimum && !maximum) return integers ? "integer" : "number";
    absl::StatusOr<std::string> range = NumberRange(minimum, maximum, integers);
    if (!range.ok()) return Annotate(range.status(), path);
    if (range->empty()) return NoValue(path, "there is no such number between the bounds");
    return "(" + *range + ")";
  }

  Text VisitArray(const Json& schema, const std::string& path, int depth) {
    FEDGLM_ASSIGN_OR_RETURN(Counts count, ReadCounts(schema, "minItems", "maxItems", path));
    if (schema.value("uniqueItems", false) && count.most > 1) {
      return Unsupported(path, "'uniqueItems' is not supported");
    }
    // Draft 7 has lists in "items", and "additionalItems" for the others.
    const Json* prefix = Find(schema, "prefixItems");
    const Json* others = Find(schema, "items");
    if (others != nullptr && others->is_array()) {
      prefix = others;
      others = Find(schema, "additionalItems");
    }
    std::vector<std::string> first;
    for (size_t i = 0; prefix != nullptr && i < prefix->size(); ++i) {
      Text item = VisitInner((*prefix)[i], path + "/prefixItems/" + std::to_string(i), depth);
      if (IsImpossible(item.status())) {  // the array ends before it
        count.most = std::min(count.most, static_cast<int64_t>(i));
        break;
      }
      FEDGLM_ASSIGN_OR_RETURN(first.emplace_back(), std::move(item));
    }
    const auto prefix_size = static_cast<int64_t>(first.size());
    if (prefix_size > 0 && !schema.contains("minItems")) count.least = std::min(prefix_size, count.most);
    std::string rest = "value";
    if (others != nullptr) {
      Text item = VisitInner(*others, path + "/items", depth);
      if (IsImpossible(item.status())) {
        count.most = std::min(count.most, prefix_size);
      } else {
        FEDGLM_ASSIGN_OR_RETURN(rest, std::move(item));
      }
    } else if (prefix_size > 0) {
      count.most = std::min(count.most, std::max(count.least, prefix_size));  // a tuple has no more unless it must
    }
    if (count.least > count.most) return NoValue(path, "it needs more items than it can have");
    if (count.most == 0) return "\"[\" ws \"]\"";
    if (first.empty()) first.push_back(rest);

    // From the last item to the first: what follows once `i` items are written.
    std::string tail;
    const auto size = static_cast<int64_t>(first.size());
    if (count.most > size) {
      const int64_t most = count.most == kUnbounded ? kUnbounded : count.most - size;
      tail = " " + Repeated("(\",\" ws " + rest + ")", std::max<int64_t>(count.least - size, 0), most);
    }
    for (int64_t i = std::min(size, count.most) - 1; i >= 0; --i) {
      tail = (i > 0 ? "\",\" ws " : "") + first[static_cast<size_t>(i)] + tail;
      if (i == 0) break;
      tail = i < count.least ? " " + tail : " " + AddNamed("items", tail) + "?";
    }
    FEDGLM_RETURN_IF_ERROR(Charge(1, path));
    const std::string content = tail + " ws";
    return AddNamed(LastPart(path) + "-array",
                    "\"[\" ws " + (count.least == 0 ? "(" + content + ")?" : content) + " \"]\"");
  }

  struct Property {
    std::string text;  // name and value
    bool required = false;
  };

  Text VisitObject(const Json& schema, const std::string& path, int depth) {
    static const Json none = Json::object();
    const Json* const declared = Find(schema, "properties");
    const Json* const additional = Find(schema, "additionalProperties");
    std::set<std::string> required;
    std::vector<std::string> undeclared;  // required, but not among the properties
    if (const Json* const names = Find(schema, "required"); names != nullptr) {
      for (const Json& name : *names) {
        if (!required.insert(name.get<std::string>()).second) continue;
        if (declared == nullptr || !declared->contains(name.get<std::string>())) undeclared.push_back(name);
      }
    }
    std::vector<Property> properties;
    std::vector<std::string> names;
    const auto add = [&](const std::string& name, const Json& value) -> absl::Status {
      const bool is_required = required.contains(name);
      names.push_back(name);
      Text text = VisitInner(value, path + "/properties/" + name, depth);
      if (IsImpossible(text.status()) && !is_required) return absl::OkStatus();  // it is left out
      if (!text.ok()) return text.status();
      const std::string once = text->size() > 64 ? AddNamed(name, *text) : *text;  // it is written two or three times
      properties.push_back({GbnfText(DumpJson(name)) + " \":\" ws " + once, is_required});
      return absl::OkStatus();
    };
    for (const auto& [name, value] : (declared != nullptr ? *declared : none).items()) {
      FEDGLM_RETURN_IF_ERROR(add(name, value));
    }
    for (const std::string& name : undeclared) {
      FEDGLM_RETURN_IF_ERROR(add(name, additional != nullptr ? *additional : Json(true)));
    }

    // Others may come if the schema says so, or says nothing at all about properties.
    std::string other;
    const bool open = additional != nullptr
                          ? *additional != false
                          : declared == nullptr && schema.value("unevaluatedProperties", Json(true)) != false;
    if (open) {
      Text value =
          additional != nullptr ? VisitInner(*additional, path + "/additionalProperties", depth) : Text("value");
      if (!IsImpossible(value.status())) {
        FEDGLM_ASSIGN_OR_RETURN(const std::string text, std::move(value));
        other = (names.empty() ? "string" : AddNamed("other-name", OtherName(names))) + " \":\" ws " + text;
      }
    }
    const auto most = static_cast<int64_t>(properties.size());
    if (Count(schema, "minProperties", 0) > static_cast<int64_t>(required.size()) ||
        Count(schema, "maxProperties", kUnbounded) < (other.empty() ? most : kUnbounded)) {
      return Unsupported(path,
                         "'minProperties' and 'maxProperties' are supported only where 'required' and the number "
                         "of properties keep them");
    }
    FEDGLM_RETURN_IF_ERROR(Charge(1, path));
    return AddNamed(LastPart(path) + "-object", "\"{\" ws " + Members(properties, other) + "\"}\"");
  }

  // The members in their order, each with or without a comma before it: the first that is there has none. Two rules for
  // each optional one would do; required ones save most of them.
  std::string Members(const std::vector<Property>& properties, const std::string& other) {
    // What may follow a member, and what may come first, from the properties at i on; `white` ends the members.
    std::string following = other.empty() ? "" : "(\",\" ws " + other + ")* ";
    std::string beginning = other.empty() ? "" : other + " " + following;
    bool may_be_empty = true;
    for (size_t i = properties.size(); i-- > 0;) {
      const Property& property = properties[i];
      const std::string next = following.size() > 64 ? AddNamed("members", following) + " " : following;
      const std::string with_this = property.text + " " + next;
      if (property.required) {
        beginning = with_this;
        may_be_empty = false;
        following = "\",\" ws " + with_this;
      } else {
        if (beginning.empty()) {
          beginning = with_this;
        } else {
          beginning = AddNamed("first", with_this + "| " + beginning) + " ";
        }
        following = "(\",\" ws " + property.text + ")? " + next;
      }
    }
    if (beginning.empty()) return "";
    return may_be_empty ? "(" + beginning + "ws)? " : beginning + "ws ";
  }

  // A string that is none of `names`: the tree of their first characters, each node with the ways to leave it. Nothing
  // is escaped in it, so that no name can be spelled in another way.
  std::string OtherName(const std::vector<std::string>& names) {
    struct Node {
      std::map<CodePoint, size_t> children;
      bool is_name = false;
    };
    std::vector<Node> nodes(1);
    for (const std::string& name : names) {
      size_t node = 0;
      CodePoint character = 0;
      for (std::string_view rest = name; TakeUtf8(rest, character);) {
        const auto [found, is_new] = nodes[node].children.try_emplace(character, nodes.size());
        node = found->second;
        if (is_new) nodes.emplace_back();
      }
      nodes[node].is_name = true;
    }
    const CharacterSet plain = Complement(Normalized({{0, 0x1F}, {0x7F, 0x7F}, {'"', '"'}, {'\\', '\\'}}));
    const std::string any = GbnfCharacters(plain) + "*";
    std::vector<std::string> rules(nodes.size());
    for (std::string& rule : rules) rule = NewName("name");
    for (size_t i = 0; i < nodes.size(); ++i) {
      std::string body = nodes[i].is_name ? "" : "\"\" | ";
      std::vector<CodePointRange> taken;
      for (const auto& [character, child] : nodes[i].children) {
        const CharacterSet one = Intersection(plain, {{character, character}});
        taken.push_back({character, character});
        if (!one.empty()) body += GbnfCharacters(one) + " " + rules[child] + " | ";
      }
      body += GbnfCharacters(Intersection(plain, Complement(Normalized(std::move(taken))))) + " " + any;
      AddRule(rules[i], body);
    }
    return "\"\\\"\" " + rules[0] + " \"\\\"\"";
  }

  const Json& root_;
  std::string rules_;
  int64_t names_ = 0;
  size_t work_ = 0;
  std::map<std::string, std::string> rule_of_reference_;
  std::set<std::string> open_references_;  // whose value stands at the place that is being visited
};

}  // namespace

absl::StatusOr<std::string> JsonSchemaToGrammar(const Json& schema) { return SchemaConverter(schema).Convert(); }

std::string JsonObjectGrammar() { return "root ::= object\n" + std::string(JsonRules()); }
std::string AnyJsonGrammar() { return "root ::= value\n" + std::string(JsonRules()); }

}  // namespace fedglm
