// Radiology-like reports for the demo: findings → impression, made up, deterministic, the same bytes on every machine.
//
// One hospital and five branches. All of them see the common conditions (which the demo's base model was pre-trained
// on); each also sees conditions that the others never see, with terms of their own. Who adapts alone learns its own;
// only together do they learn all.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace fedglm::hospital {

struct Report {
  std::string findings;    // what the radiologist saw: the question
  std::string impression;  // what it means: the answer
  bool operator==(const Report&) const = default;
};

struct SiteProfile {
  std::string_view name;
  std::string_view description;
  int training_records;
  int held_out_records;
};

// The hospital first, then its branches: unequal amounts.
const std::vector<SiteProfile>& Sites();

// `count` distinct reports of a site (index into Sites()): about three of five show one of the site's own conditions.
// Reports of different `seed`s may repeat each other; within one call they are distinct.
std::vector<Report> SiteReports(int site, int count, uint64_t seed);

// `count` distinct reports with common conditions only: what the base model is pre-trained on.
std::vector<Report> CommonReports(int count, uint64_t seed);

// `count` exercises in the form of reports, of words in no meaningful order: how the base learns to spell the words of
// all specialities, and that it cannot know what follows from findings it has never seen. No condition is given away.
std::vector<Report> Dictations(int count, uint64_t seed);

// One JSON line in the chat form: {"messages":[{"role":"user",…},{"role":"assistant",…}]}
std::string ToRecord(const Report& report);
std::string QuestionOf(const Report& report);

// Writes DIR/<site>/train.jsonl and DIR/<site>/held-out.jsonl for every site (training and held-out are disjoint), and
// DIR/common.jsonl for pre-training with `common_records` (three common reports to two dictations) if that is not 0.
absl::Status WriteRecords(const std::filesystem::path& folder, uint64_t seed, int common_records);

}  // namespace fedglm::hospital
