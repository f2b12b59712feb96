#include "aggregator/membership/renewal.h"

#include <optional>
#include <string>

#include "base/log.h"

namespace fedglm {

MemberCertificate WhichCertificate(const NodeRow& node, std::string_view serial_hex) {
  if (serial_hex.empty()) return MemberCertificate::kOther;  // which is how "none" is stored
  if (serial_hex == node.serial) return MemberCertificate::kPresent;
  return serial_hex == node.next_serial ? MemberCertificate::kNext : MemberCertificate::kOther;
}

absl::Status AcceptCertificate(Store& store, const NodeRow& node, std::string_view serial_hex, int64_t now_unix_ms) {
  if (WhichCertificate(node, serial_hex) == MemberCertificate::kPresent) return absl::OkStatus();
  return store.Transaction([&]() -> absl::Status {
    // Another call may have shown it meanwhile, or asked for another one.
    const std::optional<NodeRow> now = store.FindNode(node.site_id);
    switch (now ? WhichCertificate(*now, serial_hex) : MemberCertificate::kOther) {
      case MemberCertificate::kPresent:
        return absl::OkStatus();
      case MemberCertificate::kNext:
        FEDGLM_RETURN_IF_ERROR(store.AdoptNextCertificate(node.site_id));
        LogInfo("site " + node.site_id + " has renewed its certificate");
        return store.AddAudit(now_unix_ms, node.site_id, "certificate renewed", node.site_id,
                              "certificate " + std::string(serial_hex) + " instead of " + now->serial);
      case MemberCertificate::kOther:
        break;
    }
    return RefusedError("site " + node.site_id + " has a newer certificate");
  });
}

}  // namespace fedglm
