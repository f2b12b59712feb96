// What administrators read at length: losses, the audit log, adapters. Private to the administration service.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "aggregator/store/artifacts.h"
#include "aggregator/store/store.h"
#include "base/status.h"
#include "fedglm/v1/administration.pb.h"

namespace fedglm {

// Usage for a page_token that is none.
absl::Status ListLosses(Store& store, const v1::ListLossesRequest& request, v1::ListLossesResponse* out);
absl::Status ListAudit(Store& store, const v1::ListAuditRequest& request, v1::ListAuditResponse* out);

// The header, then the bytes of that round's adapter, each through `send`, whose error ends it. Refused if there is no
// such round, or it is not done.
absl::Status ExportAdapter(Store& store, const Artifacts& artifacts, const v1::ExportAdapterRequest& request,
                           const std::function<absl::Status(const v1::ExportAdapterChunk&)>& send);

}  // namespace fedglm
