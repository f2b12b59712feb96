// JSON Schema to GBNF. Every object, array and reference becomes a rule, the rest is written where it stands.
#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "base/json.h"
#include "inference/grammar/gbnf_text.h"
#include "inference/grammar/grammar.h"
#include "inference/grammar/schema/schema_merge.h"
#include "inference/grammar/schema/schema_references.h"
#include "inference/grammar/schema/schema_values.h"

namespace fedglm {
namespace {

constexpr int kMaxDepth = 128;  // of schemas in schemas

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

std::string_view TypeName(const Json& value) {
  if (value.is_null()) return "null";
  if (value.is_boolean()) return "boolean";
  if (value.is_string()) return "string";
  if (value.is_array()) return "array";
  if (value.is_object()) return "object";
  if (value.is_number_integer()) return "integer";
  return "number";
}

// Whether nothing but `keyword` decides which values are valid.
bool StatesOnly(const Json& schema, std::string_view keyword) {
  for (const auto& [name, value] : schema.items()) {
    if (name != keyword && !IsAnnotation(name)) return false;
  }
  return true;
}

GrammarText JoinAlternatives(std::vector<GrammarText> alternatives, const std::string& path) {
  std::string joined;
  std::vector<std::string> written;
  for (GrammarText& alternative : alternatives) {
    if (IsImpossible(alternative.status())) continue;
    FEDGLM_ASSIGN_OR_RETURN(std::string text, std::move(alternative));
    if (std::find(written.begin(), written.end(), text) == written.end()) written.push_back(std::move(text));
  }
  if (written.empty()) return NoValue(path, "none of its alternatives has one");
  if (written.size() == 1) return written[0];
  for (const std::string& text : written) joined += (joined.empty() ? "(" : " | ") + text;
  return joined + ")";
}

class SchemaConverter {
 public:
  explicit SchemaConverter(const Json& root) : root_(root), references_(root, grammar_) {}

  absl::StatusOr<std::string> Convert() {
    absl::StatusOr<std::string> expression = Visit(root_, "#", 0);
    if (!expression.ok()) {
      return IsImpossible(expression.status()) ? UsageError(Message(expression.status())) : expression.status();
    }
    return "root ::= " + *expression + "\n" + grammar_.rules() + std::string(JsonRules());
  }

 private:
  // What stands inside another value: references that are open were followed to a place that is not this one.
  GrammarText VisitInner(const Json& schema, const std::string& path, int depth) {
    std::set<std::string> outer;
    outer.swap(open_references_);
    GrammarText text = Visit(schema, path, depth + 1);
    open_references_.swap(outer);
    return text;
  }

  // For what stands inside the value at this depth.
  InnerGrammar Inner(int depth) {
    return [this, depth](const Json& schema, const std::string& path) { return VisitInner(schema, path, depth); };
  }

  GrammarText Visit(const Json& schema, const std::string& path, int depth) {
    if (depth > kMaxDepth) return Unsupported(path, "the schema is nested too deeply, or leads back to itself");
    FEDGLM_RETURN_IF_ERROR(grammar_.Charge(1, path));
    if (const absl::Status status = CheckKeywords(schema); !status.ok()) return Annotate(status, path);
    if (schema.is_boolean()) return schema == true ? GrammarText("value") : NoValue(path, "the schema is false");
    for (const std::string_view keyword : kUnsupported) {
      if (schema.contains(std::string(keyword))) {
        return Unsupported(path, "'" + std::string(keyword) + "' is not supported");
      }
    }
    if (const Json* const reference = FindKeyword(schema, "$ref"); reference != nullptr && StatesOnly(schema, "$ref")) {
      return VisitReference(reference->get<std::string>(), path, depth);
    }
    if (schema.contains("$ref")) {
      FEDGLM_RETURN_IF_ERROR(grammar_.Charge(CountValues(schema), path));
      FEDGLM_ASSIGN_OR_RETURN(const Json merged, references_.Dereferenced(schema, path));
      return Visit(merged, path, depth + 1);
    }
    if (schema.contains("allOf")) return VisitAllOf(schema, path, depth);
    for (const char* const keyword : {"anyOf", "oneOf"}) {
      if (schema.contains(keyword)) return VisitAnyOf(schema, keyword, path, depth);
    }
    if (const Json* const nullable = FindKeyword(schema, "nullable"); nullable != nullptr) {
      Json rest = schema;
      rest.erase("nullable");
      FEDGLM_RETURN_IF_ERROR(grammar_.Charge(CountValues(rest), path));
      if (*nullable == false) return Visit(rest, path, depth + 1);
      return JoinAlternatives({Visit(rest, path, depth + 1), GrammarText("null")}, path);
    }
    if (schema.contains("const") || schema.contains("enum")) return VisitEnum(schema, path);
    return VisitTypes(schema, path, depth);
  }

  GrammarText VisitReference(const std::string& reference, const std::string& path, int depth) {
    if (open_references_.contains(reference)) return Unsupported(path, "$ref '" + reference + "' leads back to itself");
    const auto [found, is_new] = rule_of_reference_.try_emplace(reference);
    if (!is_new) return found->second;
    FEDGLM_ASSIGN_OR_RETURN(const Json* const target, references_.Lookup(reference, path));
    const std::string name = grammar_.NewName(LastPart(reference));
    found->second = name;
    open_references_.insert(reference);
    GrammarText body = Visit(*target, reference, depth + 1);
    open_references_.erase(reference);
    // Other rules may have been written that call this one; an empty class is what no text matches.
    grammar_.AddRule(name, body.ok() ? *body : "[]");
    if (!body.ok()) return body.status();
    return name;
  }

  GrammarText VisitAllOf(const Json& schema, const std::string& path, int depth) {
    FEDGLM_RETURN_IF_ERROR(grammar_.Charge(CountValues(schema), path));
    Json whole = schema;
    whole.erase("allOf");
    for (const Json& part : schema["allOf"]) {
      FEDGLM_ASSIGN_OR_RETURN(const Json plain, references_.Dereferenced(part, path));
      FEDGLM_ASSIGN_OR_RETURN(whole, references_.Merged(whole, plain, path));
    }
    return Visit(whole, path, depth + 1);
  }

  // oneOf as well: a grammar cannot count how many of the alternatives a value satisfies.
  GrammarText VisitAnyOf(const Json& schema, const char* keyword, const std::string& path, int depth) {
    Json common = schema;
    common.erase(keyword);
    FEDGLM_RETURN_IF_ERROR(grammar_.Charge(CountValues(common), path));
    const bool alone = StatesOnly(schema, keyword);
    std::vector<GrammarText> alternatives;
    for (size_t i = 0; i < schema[keyword].size(); ++i) {
      const Json& alternative = schema[keyword][i];
      const std::string place = path + "/" + keyword + "/" + std::to_string(i);
      if (alone) {
        alternatives.push_back(Visit(alternative, place, depth + 1));
        continue;
      }
      FEDGLM_ASSIGN_OR_RETURN(const Json plain, references_.Dereferenced(alternative, place));
      FEDGLM_ASSIGN_OR_RETURN(const Json merged, references_.Merged(common, plain, place));
      alternatives.push_back(Visit(merged, place, depth + 1));
    }
    return JoinAlternatives(std::move(alternatives), path);
  }

  GrammarText VisitEnum(const Json& schema, const std::string& path) {
    for (const auto& [keyword, value] : schema.items()) {
      if (keyword == "const" || keyword == "enum" || keyword == "type" || IsAnnotation(keyword)) continue;
      for (const TypeHint& hint : kTypeHints) {
        if (hint.keyword == keyword)
          return Unsupported(path, "'" + keyword + "' beside enum or const is not supported");
      }
    }
    const Json* const constant = FindKeyword(schema, "const");
    const Json* const list = FindKeyword(schema, "enum");
    const Json* const types = FindKeyword(schema, "type");
    const Json values = list != nullptr ? *list : Json::array({*constant});
    std::vector<GrammarText> alternatives;
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

  GrammarText VisitTypes(const Json& schema, const std::string& path, int depth) {
    const Json* const type = FindKeyword(schema, "type");
    if (type != nullptr && type->is_string()) return VisitType(type->get<std::string>(), schema, path, depth);
    std::vector<GrammarText> alternatives;
    if (type != nullptr) {
      for (const Json& one : *type) alternatives.push_back(VisitType(one.get<std::string>(), schema, path, depth));
      return JoinAlternatives(std::move(alternatives), path);
    }
    for (const TypeHint& hint : kTypeHints) {
      if (schema.contains(std::string(hint.keyword))) return VisitType(hint.type, schema, path, depth);
    }
    return "value";
  }

  GrammarText VisitType(std::string_view type, const Json& schema, const std::string& path, int depth) {
    if (type == "object") return ObjectGrammar(schema, path, Inner(depth), grammar_);
    if (type == "array") return ArrayGrammar(schema, path, Inner(depth), grammar_);
    if (type == "string") return StringGrammar(schema, path);
    if (type == "integer" || type == "number") return NumberGrammar(schema, type == "integer", path);
    if (type == "boolean" || type == "null") return std::string(type);
    return Unsupported(path, "the type '" + std::string(type) + "' is not known");
  }

  const Json& root_;
  SchemaGrammar grammar_;
  SchemaReferences references_;
  std::map<std::string, std::string> rule_of_reference_;
  std::set<std::string> open_references_;  // whose value stands at the place that is being visited
};

}  // namespace

absl::StatusOr<std::string> JsonSchemaToGrammar(const Json& schema) { return SchemaConverter(schema).Convert(); }

std::string JsonObjectGrammar() { return "root ::= object\n" + std::string(JsonRules()); }
std::string AnyJsonGrammar() { return "root ::= value\n" + std::string(JsonRules()); }

}  // namespace fedglm
