#include "inference/grammar/schema/schema_references.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "inference/grammar/schema/schema_merge.h"

namespace fedglm {
namespace {

constexpr int kMaxSteps = 128;  // from reference to reference

std::string UnescapePointer(std::string_view text) {
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

Json WithoutReference(Json schema) {
  schema.erase("$ref");
  return schema;
}

}  // namespace

absl::StatusOr<const Json*> SchemaReferences::Lookup(const std::string& reference, const std::string& path) const {
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
      next = FindKeyword(*place, key.c_str());
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

absl::StatusOr<Json> SchemaReferences::Dereferenced(Json schema, const std::string& path) {
  for (int steps = 0; schema.is_object() && schema.contains("$ref"); ++steps) {
    if (steps > kMaxSteps) return Unsupported(path, "$ref leads back to itself");
    if (const absl::Status status = CheckKeywords(schema); !status.ok()) return Annotate(status, path);
    FEDGLM_ASSIGN_OR_RETURN(const Json* const target, Lookup(schema["$ref"].get<std::string>(), path));
    schema.erase("$ref");
    if (target->is_object() && target->contains("$ref")) {
      // Its own reference comes first, so that MergeSchemas meets none.
      FEDGLM_RETURN_IF_ERROR(grammar_.Charge(CountValues(*target) + CountValues(schema), path));
      schema = Json{{"$ref", (*target)["$ref"]}, {"allOf", Json::array({WithoutReference(*target), schema})}};
      continue;
    }
    FEDGLM_ASSIGN_OR_RETURN(schema, Merged(*target, schema, path));
  }
  return schema;
}

absl::StatusOr<Json> SchemaReferences::Merged(const Json& a, const Json& b, const std::string& path) {
  FEDGLM_RETURN_IF_ERROR(grammar_.Charge(CountValues(a) + CountValues(b), path));
  absl::StatusOr<Json> merged = MergeSchemas(a, b);
  if (!merged.ok()) return Annotate(merged.status(), path);
  return merged;
}

}  // namespace fedglm
