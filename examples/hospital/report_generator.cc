#include "examples/hospital/report_generator.h"

#include <algorithm>
#include <cctype>
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
  const std::pair<std::string_view, std::string> slots[] = {{"{side}", std::string(random.Pick(kSides))},
                                                            {"{size}", std::string(random.Pick(kSizes))},
                                                            {"{lobe}", std::string(random.Pick(kLobes))},
                                                            {"{level}", std::string(random.Pick(kLevels))},
                                                            {"{mm}", std::to_string(4 + random.Below(56))}};
  for (const auto& [slot, value] : slots) {
    ReplaceAll(report.findings, slot, value);
    ReplaceAll(report.impression, slot, value);
  }
  return report;
}

// Every word of every condition, common and own, sorted; placeholders and numbers left out.
std::vector<std::string> Lexicon() {
  std::set<std::string> words;
  const auto add = [&](std::string_view text) {
    std::string word;
    bool plain = true;
    for (const char c : std::string(text) + " ") {
      if (c == ' ') {
        while (!word.empty() && std::string_view(".,;:").find(word.back()) != std::string_view::npos) word.pop_back();
        if (plain && word.size() > 1) words.insert(word);
        word.clear();
        plain = true;
      } else {
        plain = plain && c != '{' && c != '}' && !(c >= '0' && c <= '9');
        word += c;
      }
    }
  };
  const auto add_all = [&](std::span<const Condition> conditions) {
    for (const Condition& condition : conditions) {
      for (const std::string_view finding : condition.findings) add(finding);
      add(condition.impression);
    }
  };
  add_all(CommonConditions());
  for (size_t site = 0; site < Sites().size(); ++site) add_all(OwnConditions(static_cast<int>(site)));
  return {words.begin(), words.end()};
}

// "Word word word; word word." of `count` words.
std::string RandomSentence(std::span<const std::string> words, size_t count, Random& random) {
  std::string sentence;
  for (size_t i = 0; i < count; ++i) {
    if (i > 0) sentence += random.Below(6) == 0 ? (random.Below(2) == 0 ? "; " : ", ") : " ";
    sentence += random.Pick(words);
  }
  sentence[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(sentence[0])));
  return sentence + ".";
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

std::vector<Report> Dictations(int count, uint64_t seed) {
  Random random(seed * 1000003 + 500009);
  const std::vector<std::string> words = Lexicon();
  std::vector<Report> reports;
  for (int i = 0; i < count; ++i) {
    Report report = Describe(random.Pick(CommonConditions()), random);
    const std::string heading = report.findings.substr(0, report.findings.find("Findings:"));
    report.findings = heading + "Findings: " + RandomSentence(words, 5 + random.Below(6), random);
    if (random.Below(2) == 0)
      report.findings += " " + std::string(random.Pick(Exams()[random.Below(Exams().size())].normal));
    report.impression = RandomSentence(words, 3 + random.Below(6), random);
    reports.push_back(std::move(report));
  }
  return reports;
}

std::string QuestionOf(const Report& report) { return report.findings + " Impression?"; }

std::string ToRecord(const Report& report) {
  const Json record = {
      {"messages",
       {{{"role", "user"}, {"content", QuestionOf(report)}}, {{"role", "assistant"}, {"content", report.impression}}}}};
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
    std::vector<Report> reports = CommonReports(common_records * 3 / 5, seed);
    const std::vector<Report> dictations = Dictations(common_records - common_records * 3 / 5, seed);
    reports.insert(reports.end(), dictations.begin(), dictations.end());
    FEDGLM_RETURN_IF_ERROR(WriteReports(folder / "common.jsonl", reports));
  }
  return absl::OkStatus();
}

}  // namespace fedglm::hospital
