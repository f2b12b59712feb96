#include "examples/hospital/report_generator.h"

#include <algorithm>
#include <set>
#include <span>

#include "base/file.h"
#include "base/json.h"
#include "examples/hospital/conditions.h"

namespace fedglm::hospital {
namespace {

// SplitMix64 (Steele, Lea, Flood 2014): small, and the same on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Below(uint64_t bound) { return Next() % bound; }
  template <typename T>
  const T& Pick(std::span<const T> choices) {
    return choices[Below(choices.size())];
  }
  template <typename T, size_t N>
  const T& Pick(const T (&choices)[N]) {
    return choices[Below(N)];
  }

 private:
  uint64_t Next() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  uint64_t state_;
};

void ReplaceAll(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

const Exam& ExamNamed(std::string_view name) {
  const auto exams = Exams();
  return *std::find_if(exams.begin(), exams.end(), [&](const Exam& exam) { return exam.name == name; });
}

// Findings and impression share the same side, size, measure and level.
Report Describe(const Condition& condition, Random& random) {
  static constexpr std::string_view kSides[] = {"left", "right"};
  static constexpr std::string_view kSizes[] = {"small", "moderate", "large"};
  static constexpr std::string_view kLobes[] = {"upper", "lower"};
  static constexpr std::string_view kLevels[] = {"L1-L2", "L2-L3", "L3-L4", "L4-L5"};
  const Exam& exam = ExamNamed(condition.exam);
  const int age = 1 + static_cast<int>(random.Below(95));
  const std::string_view indication = random.Pick(exam.indications);

  std::vector<std::string> sentences = {std::string(random.Pick(condition.findings))};
  const size_t normal_count = 1 + random.Below(2);
  const size_t first_normal = random.Below(std::size(exam.normal));
  for (size_t i = 0; i < normal_count; ++i) {
    sentences.emplace_back(exam.normal[(first_normal + i) % std::size(exam.normal)]);
  }
  std::swap(sentences[0], sentences[random.Below(sentences.size())]);

  Report report;
  report.findings = "Exam: " + std::string(exam.name) + ". Age " + std::to_string(age) + ", " +
                    std::string(indication) + ". Findings:";
  for (const std::string& sentence : sentences) report.findings += " " + sentence;
  report.impression = condition.impression;
  const std::pair<std::string_view, std::string> slots[] = {
      {"{side}", std::string(random.Pick(kSides))}, {"{size}", std::string(random.Pick(kSizes))},
      {"{lobe}", std::string(random.Pick(kLobes))}, {"{level}", std::string(random.Pick(kLevels))},
      {"{mm}", std::to_string(4 + random.Below(56))}};
  for (const auto& [slot, value] : slots) {
    ReplaceAll(report.findings, slot, value);
    ReplaceAll(report.impression, slot, value);
  }
  return report;
}

template <typename Choose>
std::vector<Report> Distinct(int count, Random& random, const Choose& choose) {
  std::vector<Report> reports;
  std::set<std::string> seen;
  // Ages, indications and normal sentences make millions of combinations: the bound is never met in practice.
  for (int64_t tries = 0; static_cast<int>(reports.size()) < count && tries < int64_t{100} * count + 1000; ++tries) {
    Report report = Describe(choose(), random);
    if (seen.insert(report.findings).second) reports.push_back(std::move(report));
  }
  return reports;
}

absl::Status WriteReports(const std::filesystem::path& path, std::span<const Report> reports) {
  std::string lines;
  for (const Report& report : reports) lines += ToRecord(report) + "\n";
  return WriteFileAtomically(path, lines);
}

}  // namespace

const std::vector<SiteProfile>& Sites() {
  static const std::vector<SiteProfile> kSites = {
      {"hospital", "the university hospital", 640, 60},
      {"branch-north", "a mining district", 420, 40},
      {"branch-coast", "a port", 380, 40},
      {"branch-hills", "a sports clinic", 320, 40},
      {"branch-lakes", "paediatrics", 280, 40},
      {"branch-old-town", "geriatrics", 240, 40},
  };
  return kSites;
}

std::vector<Report> SiteReports(int site, int count, uint64_t seed) {
  Random random(seed * 1000003 + static_cast<uint64_t>(site) + 1);
  return Distinct(count, random, [&]() -> const Condition& {
    return random.Below(5) < 3 ? random.Pick(OwnConditions(site)) : random.Pick(CommonConditions());
  });
}

std::vector<Report> CommonReports(int count, uint64_t seed) {
  Random random(seed * 1000003);
  return Distinct(count, random, [&]() -> const Condition& { return random.Pick(CommonConditions()); });
}

std::string QuestionOf(const Report& report) { return report.findings + " Impression?"; }

std::string ToRecord(const Report& report) {
  const Json record = {{"messages",
                        {{{"role", "user"}, {"content", QuestionOf(report)}},
                         {{"role", "assistant"}, {"content", report.impression}}}}};
  return DumpJson(record);
}

absl::Status WriteRecords(const std::filesystem::path& folder, uint64_t seed, int common_records) {
  for (size_t i = 0; i < Sites().size(); ++i) {
    const SiteProfile& site = Sites()[i];
    const std::filesystem::path site_folder = folder / std::string(site.name);
    FEDGLM_RETURN_IF_ERROR(MakeDirectories(site_folder));
    const std::vector<Report> reports =
        SiteReports(static_cast<int>(i), site.training_records + site.held_out_records, seed);
    const std::span<const Report> all = reports;
    FEDGLM_RETURN_IF_ERROR(
        WriteReports(site_folder / "train.jsonl", all.first(static_cast<size_t>(site.training_records))));
    FEDGLM_RETURN_IF_ERROR(
        WriteReports(site_folder / "held-out.jsonl", all.subspan(static_cast<size_t>(site.training_records))));
  }
  if (common_records > 0) {
    FEDGLM_RETURN_IF_ERROR(MakeDirectories(folder));
    FEDGLM_RETURN_IF_ERROR(WriteReports(folder / "common.jsonl", CommonReports(common_records, seed)));
  }
  return absl::OkStatus();
}

}  // namespace fedglm::hospital
