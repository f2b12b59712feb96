// fedglm federation audit --verify: the whole log is walked, and nothing that the aggregator says of it is believed.
#pragma once

#include <filesystem>
#include <string>

#include "base/command_line.h"
#include "client/administration_client.h"

namespace fedglm::cli {

struct AuditVerification {
  bool asked = false;
  std::string signing_key;  // file; empty: the one beside the administrator's folder
  std::string expected;     // ID:HASH of an entry, from an earlier verification
};

void AddAuditVerification(Command& audit, AuditVerification& verification);

// Prints how many entries there are and the last checkpoint. Refused, naming the first entry that does not fit.
absl::Status VerifyAudit(const AuditVerification& verification, const std::filesystem::path& signing_key,
                         AdministrationClient& client, bool json);

}  // namespace fedglm::cli
