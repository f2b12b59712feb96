#include <algorithm>
#include <utility>
#include <vector>

#include "base/json.h"
#include "inference/grammar/schema/schema_values.h"

namespace fedglm {

GrammarText ArrayGrammar(const Json& schema, const std::string& path, const InnerGrammar& inner,
                         SchemaGrammar& grammar) {
  FEDGLM_ASSIGN_OR_RETURN(Counts count, ReadCounts(schema, "minItems", "maxItems", path));
  if (schema.value("uniqueItems", false) && count.most > 1) {
    return Unsupported(path, "'uniqueItems' is not supported");
  }
  // Draft 7 has lists in "items", and "additionalItems" for the others.
  const Json* prefix = FindKeyword(schema, "prefixItems");
  const Json* others = FindKeyword(schema, "items");
  if (others != nullptr && others->is_array()) {
    prefix = others;
    others = FindKeyword(schema, "additionalItems");
  }
  std::vector<std::string> first;
  for (size_t i = 0; prefix != nullptr && i < prefix->size(); ++i) {
    GrammarText item = inner((*prefix)[i], path + "/prefixItems/" + std::to_string(i));
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
    GrammarText item = inner(*others, path + "/items");
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
    tail = i < count.least ? " " + tail : " " + grammar.AddNamed("items", tail) + "?";
  }
  FEDGLM_RETURN_IF_ERROR(grammar.Charge(1, path));
  const std::string content = tail + " ws";
  return grammar.AddNamed(LastPart(path) + "-array",
                          "\"[\" ws " + (count.least == 0 ? "(" + content + ")?" : content) + " \"]\"");
}

}  // namespace fedglm
