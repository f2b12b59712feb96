// What a site says of the update that it sends, and what is wrong with it.
#pragma once

#include <cstdint>
#include <string>

#include "adapter/adapter.h"
#include "adapter/update_form.h"

namespace fedglm {

struct UpdateClaim {
  std::string update_id, base_sha256, adapter_sha256, mode, sha256;
  int64_t round = 0, examples = 0;
  uint64_t bytes = 0;
  double training_loss = 0;
};

// The same for the same site and round, whoever asks and whenever: an update that is sent twice is the same update.
std::string UpdateIdOf(const std::string& federation, int64_t round, const std::string& site_id,
                       const std::string& adapter_sha256);

// What an honest update of this adapter can have: its values in float32, and room for names, shapes and metadata.
uint64_t MostUpdateBytes(const Adapter& global, UpdateForm form);

// What the open round asks of an update.
struct ClaimTerms {
  std::string base_sha256, adapter_sha256, mode;
  int64_t round = 0;
  uint64_t max_bytes = 0;
};

// Why the update cannot be taken, in words for the site and the audit log; empty: nothing is wrong. It will not become
// better when it is sent again.
std::string FaultOf(const UpdateClaim& claim, const ClaimTerms& terms);

}  // namespace fedglm
