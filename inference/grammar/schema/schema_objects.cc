#include <map>
#include <set>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/utf8.h"
#include "inference/grammar/gbnf_text.h"
#include "inference/grammar/schema/schema_values.h"

namespace fedglm {
namespace {

struct Property {
  std::string text;  // name and value
  bool required = false;
};

// The members in their order, each with or without a comma before it: the first that is there has none. Two rules for
// each optional one would do; required ones save most of them.
std::string Members(const std::vector<Property>& properties, const std::string& other, SchemaGrammar& grammar) {
  // What may follow a member, and what may come first, from the properties at i on; `white` ends the members.
  std::string following = other.empty() ? "" : "(\",\" ws " + other + ")* ";
  std::string beginning = other.empty() ? "" : other + " " + following;
  bool may_be_empty = true;
  for (size_t i = properties.size(); i-- > 0;) {
    const Property& property = properties[i];
    const std::string next = following.size() > 64 ? grammar.AddNamed("members", following) + " " : following;
    const std::string with_this = property.text + " " + next;
    if (property.required) {
      beginning = with_this;
      may_be_empty = false;
      following = "\",\" ws " + with_this;
    } else {
      if (beginning.empty()) {
        beginning = with_this;
      } else {
        beginning = grammar.AddNamed("first", with_this + "| " + beginning) + " ";
      }
      following = "(\",\" ws " + property.text + ")? " + next;
    }
  }
  if (beginning.empty()) return "";
  return may_be_empty ? "(" + beginning + "ws)? " : beginning + "ws ";
}

// A string that is none of `names`: the tree of their first characters, each node with the ways to leave it. Nothing
// is escaped in it, so that no name can be spelled in another way.
std::string OtherName(const std::vector<std::string>& names, SchemaGrammar& grammar) {
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
  for (std::string& rule : rules) rule = grammar.NewName("name");
  for (size_t i = 0; i < nodes.size(); ++i) {
    std::string body = nodes[i].is_name ? "" : "\"\" | ";
    std::vector<CodePointRange> taken;
    for (const auto& [character, child] : nodes[i].children) {
      const CharacterSet one = Intersection(plain, {{character, character}});
      taken.push_back({character, character});
      if (!one.empty()) body += GbnfCharacters(one) + " " + rules[child] + " | ";
    }
    body += GbnfCharacters(Intersection(plain, Complement(Normalized(std::move(taken))))) + " " + any;
    grammar.AddRule(rules[i], body);
  }
  return "\"\\\"\" " + rules[0] + " \"\\\"\"";
}

}  // namespace

GrammarText ObjectGrammar(const Json& schema, const std::string& path, const InnerGrammar& inner,
                          SchemaGrammar& grammar) {
  static const Json none = Json::object();
  const Json* const declared = FindKeyword(schema, "properties");
  const Json* const additional = FindKeyword(schema, "additionalProperties");
  std::set<std::string> required;
  std::vector<std::string> undeclared;  // required, but not among the properties
  if (const Json* const names = FindKeyword(schema, "required"); names != nullptr) {
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
    GrammarText text = inner(value, path + "/properties/" + name);
    if (IsImpossible(text.status()) && !is_required) return absl::OkStatus();  // it is left out
    if (!text.ok()) return text.status();
    const std::string once =
        text->size() > 64 ? grammar.AddNamed(name, *text) : *text;  // it is written two or three times
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
    GrammarText value =
        additional != nullptr ? inner(*additional, path + "/additionalProperties") : GrammarText("value");
    if (!IsImpossible(value.status())) {
      FEDGLM_ASSIGN_OR_RETURN(const std::string text, std::move(value));
      other =
          (names.empty() ? "string" : grammar.AddNamed("other-name", OtherName(names, grammar))) + " \":\" ws " + text;
    }
  }
  const auto most = static_cast<int64_t>(properties.size());
  if (ReadCount(schema, "minProperties", 0) > static_cast<int64_t>(required.size()) ||
      ReadCount(schema, "maxProperties", kUnbounded) < (other.empty() ? most : kUnbounded)) {
    return Unsupported(path,
                       "'minProperties' and 'maxProperties' are supported only where 'required' and the number "
                       "of properties keep them");
  }
  FEDGLM_RETURN_IF_ERROR(grammar.Charge(1, path));
  return grammar.AddNamed(LastPart(path) + "-object", "\"{\" ws " + Members(properties, other, grammar) + "\"}\"");
}

}  // namespace fedglm
