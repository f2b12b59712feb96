#include <algorithm>
#include <string_view>
#include <utility>

#include "base/json.h"
#include "inference/grammar/schema/pattern.h"
#include "inference/grammar/schema/schema_values.h"

namespace fedglm {
namespace {

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

}  // namespace

GrammarText StringGrammar(const Json& schema, const std::string& path) {
  FEDGLM_ASSIGN_OR_RETURN(const Counts length, ReadCounts(schema, "minLength", "maxLength", path));
  const Json* const pattern = FindKeyword(schema, "pattern");
  const Json* const format = FindKeyword(schema, "format");
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
  if (content.longest < length.least || content.shortest > length.most) return NoValue(path, "its lengths contradict");
  if (content.shortest < length.least || content.longest > length.most) {
    return Unsupported(path,
                       "the pattern or format allows lengths that minLength or maxLength forbid: "
                       "write them into the pattern");
  }
  return "\"\\\"\" (" + content.content + ") \"\\\"\"";
}

}  // namespace fedglm
