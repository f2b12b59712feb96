// provenance.json. Private to this folder; docs/adapter-format.md describes the fields.
#pragma once

#include "adapter/adapter.h"
#include "base/json_forward.h"
#include "base/status.h"

namespace fedglm {

Json ProvenanceToJson(const Provenance& provenance);
absl::StatusOr<Provenance> ProvenanceFromJson(const Json& json);

}  // namespace fedglm
