#include "cli/demo/demo_sites.h"

#include <set>
#include <sstream>

#include "base/file.h"
#include "base/json.h"
#include "examples/hospital/report_generator.h"

namespace fedglm::cli {
namespace {

constexpr size_t kParagraphBytes = 400;  // shorter paragraphs are joined
constexpr size_t kHeldOutEvery = 10;

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    if (line.find_first_not_of(" \t\r") != std::string::npos) lines.push_back(line);
  }
  return lines;
}

// Stretches of whole lines, each as a {"text"} record.
std::vector<std::string> TextRecords(const std::string& text) {
  std::vector<std::string> records;
  std::string paragraph;
  const auto close = [&] {
    if (!paragraph.empty()) records.push_back(DumpJson(Json{{"text", paragraph}}));
    paragraph.clear();
  };
  for (const std::string& line : Lines(text)) {
    paragraph += (paragraph.empty() ? "" : "\n") + line;
    if (paragraph.size() >= kParagraphBytes) close();
  }
  close();
  return records;
}

struct QuestionAndAnswer {
  std::string question, answer;
};

// What is asked and what is answered in a record; of a text, its first half and its second.
QuestionAndAnswer Split(const std::string& record) {
  const absl::StatusOr<Json> json = ParseJson(record, "record");
  if (!json.ok() || !json->is_object()) return {};
  const auto text = [&](const Json& object, const char* key) {
    return object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : std::string();
  };
  if (json->contains("messages") && (*json)["messages"].is_array()) {
    QuestionAndAnswer result;
    for (const Json& message : (*json)["messages"]) {
      if (!message.is_object()) continue;
      if (text(message, "role") == "user" && result.question.empty()) result.question = text(message, "content");
      if (text(message, "role") == "assistant" && result.answer.empty()) result.answer = text(message, "content");
    }
    return result;
  }
  if (json->contains("prompt")) return {text(*json, "prompt"), text(*json, "completion")};
  const std::string whole = text(*json, "text");
  const size_t middle = std::min(whole.find(' ', whole.size() / 2), whole.size());
  return {whole.substr(0, middle), whole.substr(middle)};
}

absl::Status WriteLines(const std::filesystem::path& path, const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  FEDGLM_RETURN_IF_ERROR(MakeDirectories(path.parent_path()));
  return WriteFileAtomically(path, text, 0600);
}

absl::Status ChooseQuestion(DemoRecords& records) {
  FEDGLM_ASSIGN_OR_RETURN(const std::string known_text, ReadFile(records.sites.front().training));
  std::set<std::string> known;
  for (const std::string& line : Lines(known_text)) known.insert(Split(line).answer);
  for (size_t site = records.sites.size() > 1 ? 1 : 0; site < records.sites.size(); ++site) {
    FEDGLM_ASSIGN_OR_RETURN(const std::string held_out, ReadFile(records.sites[site].held_out));
    for (const std::string& line : Lines(held_out)) {
      const QuestionAndAnswer candidate = Split(line);
      if (candidate.question.empty() || known.contains(candidate.answer)) continue;
      records.question = candidate.question;
      records.expected = candidate.answer;
      return absl::OkStatus();
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DemoRecords> HospitalRecords(const std::filesystem::path& folder, int sites, uint64_t seed) {
  FEDGLM_RETURN_IF_ERROR(hospital::WriteRecords(folder, seed, 0));
  DemoRecords records;
  for (const hospital::SiteProfile& profile : hospital::Sites()) {
    if (static_cast<int>(records.sites.size()) == sites) break;
    const std::filesystem::path site = folder / std::string(profile.name);
    records.sites.push_back(
        {std::string(profile.name), site / "train.jsonl", site / "held-out.jsonl", profile.training_records});
  }
  FEDGLM_RETURN_IF_ERROR(ChooseQuestion(records));
  return records;
}

absl::StatusOr<DemoRecords> SplitRecords(const std::filesystem::path& data, const std::filesystem::path& folder,
                                         int sites) {
  FEDGLM_ASSIGN_OR_RETURN(const std::string text, ReadFile(data));
  const bool json_lines =
      text.find_first_not_of(" \t\r\n") != std::string::npos && text[text.find_first_not_of(" \t\r\n")] == '{';
  const std::vector<std::string> all = json_lines ? Lines(text) : TextRecords(text);
  const size_t count = static_cast<size_t>(sites);
  if (all.size() < 4 * count) {
    return BadFileError(data.string() + ": " + std::to_string(all.size()) + " records are too few for " +
                        std::to_string(sites) + " sites; 4 a site are needed");
  }
  DemoRecords records;
  for (size_t s = 0; s < count; ++s) {
    std::vector<std::string> training, held_out;
    for (size_t i = s * all.size() / count; i < (s + 1) * all.size() / count; ++i) {
      // The last of each ten, and of a short stretch its last.
      const bool last = i + 1 == (s + 1) * all.size() / count && held_out.empty();
      (last || (i - s * all.size() / count) % kHeldOutEvery == kHeldOutEvery - 1 ? held_out : training)
          .push_back(all[i]);
    }
    DemoSite site;
    site.name = "site-" + std::to_string(s + 1);
    site.training = folder / site.name / "train.jsonl";
    site.held_out = folder / site.name / "held-out.jsonl";
    site.training_records = static_cast<int64_t>(training.size());
    FEDGLM_RETURN_IF_ERROR(WriteLines(site.training, training));
    FEDGLM_RETURN_IF_ERROR(WriteLines(site.held_out, held_out));
    records.sites.push_back(site);
  }
  FEDGLM_RETURN_IF_ERROR(ChooseQuestion(records));
  return records;
}

}  // namespace fedglm::cli
