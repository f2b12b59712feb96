// The $refs of a JSON Schema: what they name, and what it says together with what stands beside it. Private to this
// folder.
#pragma once

#include <string>

#include "base/json.h"
#include "inference/grammar/schema/schema_grammar.h"

namespace fedglm {

// Not thread-safe. What is copied is charged to the grammar; `root`, the whole document, must outlive it.
class SchemaReferences {
 public:
  SchemaReferences(const Json& root, SchemaGrammar& grammar) : root_(root), grammar_(grammar) {}

  // The schema that a JSON pointer within the document ("#/$defs/node") names.
  absl::StatusOr<const Json*> Lookup(const std::string& reference, const std::string& path) const;
  // Without $ref: what it names, and what stands beside it.
  absl::StatusOr<Json> Dereferenced(Json schema, const std::string& path);
  // MergeSchemas.
  absl::StatusOr<Json> Merged(const Json& a, const Json& b, const std::string& path);

 private:
  const Json& root_;
  SchemaGrammar& grammar_;
};

}  // namespace fedglm
