// The GBNF that a JSON Schema becomes, while it is written, and what its parts are read with. Private to this folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/json_forward.h"
#include "base/status.h"

namespace fedglm {

// Of one value: GBNF, alternatives in parentheses. Errors name the place in the schema (#/properties/age).
using GrammarText = absl::StatusOr<std::string>;

absl::Status Unsupported(const std::string& path, std::string_view what);
// The schema has no value. The status is used within this folder alone, where an alternative that has none is left out.
absl::Status NoValue(const std::string& path, std::string_view why);
bool IsImpossible(const absl::Status& status);

// nullptr: the schema does not have it.
const Json* FindKeyword(const Json& schema, const char* keyword);
// The value itself and all that it holds.
size_t CountValues(const Json& value);
// "age" of "#/properties/age"; "root" of "#".
std::string LastPart(const std::string& path);

inline constexpr int64_t kUnbounded = INT64_MAX;
// The count that the keyword says, at most kUnbounded.
int64_t ReadCount(const Json& schema, const char* keyword, int64_t fallback);

struct Counts {
  int64_t least = 0;
  int64_t most = kUnbounded;
};
// Within what GBNF can repeat. NoValue if they contradict.
absl::StatusOr<Counts> ReadCounts(const Json& schema, const char* least, const char* most, const std::string& path);
// item{least,most}
std::string Repeated(const std::string& item, int64_t least, int64_t most);

// The rules. Not thread-safe.
class SchemaGrammar {
 public:
  // Counts JSON values that are read or copied. Unsupported when they, or the rules, become too many.
  absl::Status Charge(size_t work, const std::string& path);

  // "address" → "address-7". Names serve those who read the grammar; each begins with a letter.
  std::string NewName(std::string_view hint);
  void AddRule(const std::string& name, const std::string& body);
  // A rule of a new name, which is returned.
  std::string AddNamed(std::string_view hint, const std::string& body);

  const std::string& rules() const { return rules_; }

 private:
  std::string rules_;
  int64_t names_ = 0;
  size_t work_ = 0;
};

}  // namespace fedglm
