#include "inference/grammar/schema/schema_grammar.h"
#include "base/json.h"

#include <algorithm>
#include <cctype>

namespace fedglm {
namespace {

constexpr size_t kMaxWork = 1'000'000;           // JSON values that are read or copied
constexpr size_t kMaxGrammar = size_t{1} << 20;  // bytes: what ParseGrammar takes
constexpr int64_t kMaxRepetition = 10'000;       // what GBNF takes

}  // namespace

absl::Status Unsupported(const std::string& path, std::string_view what) {
  return UsageError(path + ": " + std::string(what));
}

absl::Status NoValue(const std::string& path, std::string_view why) {
  return absl::OutOfRangeError(path + ": no value is valid: " + std::string(why));
}

bool IsImpossible(const absl::Status& status) { return status.code() == absl::StatusCode::kOutOfRange; }

const Json* FindKeyword(const Json& schema, const char* keyword) {
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

std::string LastPart(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "root" : path.substr(slash + 1);
}

int64_t ReadCount(const Json& schema, const char* keyword, int64_t fallback) {
  const Json* const count = FindKeyword(schema, keyword);
  if (count == nullptr) return fallback;
  const double value = count->get<double>();
  return value < 1e15 ? static_cast<int64_t>(value) : kUnbounded;
}

// GBNF's limit is kept: a text of at most 10,000 characters is one of at most 20,000 too.
absl::StatusOr<Counts> ReadCounts(const Json& schema, const char* least, const char* most, const std::string& path) {
  Counts counts = {ReadCount(schema, least, 0), ReadCount(schema, most, kUnbounded)};
  if (counts.least > counts.most) return NoValue(path, std::string(least) + " is above " + most);
  if (counts.least > kMaxRepetition) {
    return Unsupported(path, std::string(least) + " above " + std::to_string(kMaxRepetition) + " is not supported");
  }
  if (counts.most != kUnbounded) counts.most = std::min(counts.most, kMaxRepetition);
  return counts;
}

std::string Repeated(const std::string& item, int64_t least, int64_t most) {
  return item + "{" + std::to_string(least) + "," + (most == kUnbounded ? "" : std::to_string(most)) + "}";
}

absl::Status SchemaGrammar::Charge(size_t work, const std::string& path) {
  work_ += work;
  if (work_ <= kMaxWork && rules_.size() <= kMaxGrammar) return absl::OkStatus();
  return Unsupported(path, "the schema is too large");
}

std::string SchemaGrammar::NewName(std::string_view hint) {
  std::string name = hint.empty() || std::isalpha(static_cast<unsigned char>(hint[0])) == 0 ? "at-" : "";
  for (const char c : hint.substr(0, 40)) {
    const bool is_name = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    name += is_name ? c : '-';
  }
  return name + "-" + std::to_string(++names_);
}

void SchemaGrammar::AddRule(const std::string& name, const std::string& body) {
  rules_ += name + " ::= " + body + "\n";
}

std::string SchemaGrammar::AddNamed(std::string_view hint, const std::string& body) {
  std::string name = NewName(hint);
  AddRule(name, body);
  return name;
}

}  // namespace fedglm
