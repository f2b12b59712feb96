// The records of the demo's sites: the hospital's made-up reports, or a text of the user's own, split among them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/status.h"
#include "inference/tokenizer/chat_template.h"

namespace fedglm::cli {

struct DemoSite {
  std::string name;
  std::filesystem::path training, held_out;  // JSON Lines
  int64_t training_records = 0;
};

struct DemoRecords {
  std::vector<DemoSite> sites;
  // Asked at the first site before and after: a held-out record of another site, whose answer no record of the first
  // has.
  std::string question, expected;
};

// Below `folder`: DIR/SITE/train.jsonl and held-out.jsonl for the hospital and its branches; at most 6 sites.
absl::StatusOr<DemoRecords> HospitalRecords(const std::filesystem::path& folder, int sites, uint64_t seed);

// JSON Lines, or plain text, whose paragraphs become records. Each site gets one stretch of the file; every tenth
// record is held out. BadFile if there are too few.
absl::StatusOr<DemoRecords> SplitRecords(const std::filesystem::path& data, const std::filesystem::path& folder,
                                         int sites);

}  // namespace fedglm::cli
