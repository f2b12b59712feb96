// Which of a member's certificates is good. It has one, and for a while a second: the next one, from when it is issued
// until the site first shows it. Then that is the only one.
#pragma once

#include <cstdint>
#include <string_view>

#include "aggregator/store/store.h"
#include "base/status.h"

namespace fedglm {

enum class MemberCertificate { kPresent, kNext, kOther };

// Which certificate of the node has this serial number.
MemberCertificate WhichCertificate(const NodeRow& node, std::string_view serial_hex);

// To be asked when `node` shows the certificate of this serial. Refused if it is neither its present nor its next one.
// The next one becomes the present one, which the audit log says once. Not inside a transaction.
absl::Status AcceptCertificate(Store& store, const NodeRow& node, std::string_view serial_hex, int64_t now_unix_ms);

}  // namespace fedglm
