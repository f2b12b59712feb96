#include "inference/import/checkpoint_pretokenizer.h"

#include <algorithm>
#include <cstdio>
#include <vector>

#include "base/json.h"
#include "inference/import/optional_json.h"
#include "inference/tokenizer/pretokenizer.h"

namespace fedglm {
namespace {

constexpr int kMaxDepth = 8;

// One for each pattern that models come with; the first that fits is taken.
constexpr std::string_view kNames[] = {
    "llama-bpe",    "gpt-2",          "smollm",      "qwen2",  "dbrx",       "tekken", "gpt-4o",
    "deepseek-llm", "deepseek-coder", "deepseek-v3", "falcon", "seed-coder", "bloom",  "bailingmoe",
    "exaone-moe",   "kimi-k2",        "qwen35",      "viking", "glm4"};

// What a step without a pattern of its own splits by.
std::string Gpt2Pattern() { return FindPretokenizer("gpt-2")->patterns.front().regex; }

absl::Status CollectPatterns(const Json& step, int depth, std::vector<std::string>& patterns) {
  const std::string type = TextOf(MemberOf(step, "type"));
  if (type == "Sequence") {
    const Json* const steps = MemberOf(step, "pretokenizers");
    if (steps == nullptr || !steps->is_array() || depth == kMaxDepth) return BadFileError("its sequence is malformed");
    for (const Json& inner : *steps) FEDGLM_RETURN_IF_ERROR(CollectPatterns(inner, depth + 1, patterns));
    return absl::OkStatus();
  }
  if (type == "Split") {
    const Json* const pattern = MemberOf(step, "pattern");
    const std::string regex = pattern == nullptr ? "" : TextOf(MemberOf(*pattern, "Regex"));
    const std::string behavior = TextOf(MemberOf(step, "behavior"));
    const bool inverted = IsTrue(MemberOf(step, "invert"));
    // Isolated matches, or what is between matches removed: for a pattern that matches everywhere it is the same.
    const bool cuts_around = (behavior == "Isolated" && !inverted) || (behavior == "Removed" && inverted);
    if (regex.empty() || !cuts_around) return BadFileError("its Split step is of a kind that is not supported");
    patterns.push_back(regex);
    return absl::OkStatus();
  }
  if (type == "Digits") {
    patterns.push_back(IsTrue(MemberOf(step, "individual_digits")) ? R"(\p{N})" : R"(\p{N}+)");
    return absl::OkStatus();
  }
  if (type == "ByteLevel") {
    if (IsTrue(MemberOf(step, "add_prefix_space"))) return BadFileError("a space before every text is not supported");
    const Json* const use_regex = MemberOf(step, "use_regex");
    if (use_regex == nullptr || IsTrue(use_regex)) patterns.push_back(Gpt2Pattern());
    return absl::OkStatus();
  }
  return BadFileError("its step '" + type.substr(0, 64) + "' is not supported");
}

// Of a character below 0x10000: the patterns name no others.
std::string Utf8Of(unsigned code) {
  const auto byte = [](unsigned bits) { return static_cast<char>(bits); };
  if (code < 0x80) return {byte(code)};
  if (code < 0x800) return {byte(0xC0 | (code >> 6)), byte(0x80 | (code & 63))};
  return {byte(0xE0 | ((code >> 12) & 15)), byte(0x80 | ((code >> 6) & 63)), byte(0x80 | (code & 63))};
}

// One spelling of what two files may spell in two ways: \x{4e00} as the character, a line break as \n or \r.
std::string Respelled(const std::string& pattern) {
  std::string out;
  for (size_t at = 0; at < pattern.size(); ++at) {
    unsigned code = 0;
    int length = 0;
    if (pattern[at] == '\n') {
      out += "\\n";
    } else if (pattern[at] == '\r') {
      out += "\\r";
    } else if (std::sscanf(pattern.c_str() + at, "\\x{%x}%n", &code, &length) == 1 && length > 0) {
      out += Utf8Of(code);
      at += static_cast<size_t>(length) - 1;
    } else {
      out += pattern[at];
    }
  }
  return out;
}

bool StandsFor(std::string_view name, const std::vector<std::string>& patterns, bool ignore_merges) {
  const absl::StatusOr<PretokenizerFacts> facts = FindPretokenizer(name);
  if (!facts.ok() || facts->characters || facts->ignore_merges != ignore_merges) return false;
  return std::equal(facts->patterns.begin(), facts->patterns.end(), patterns.begin(), patterns.end(),
                    [](const CutPattern& cut, const std::string& pattern) {
                      return cut.match_cut == MatchCut::kAround && Respelled(cut.regex) == Respelled(pattern);
                    });
}

}  // namespace

absl::StatusOr<std::string> NameOfPretokenizer(const Json& pre_tokenizer, bool ignore_merges,
                                               const Architecture& architecture) {
  std::vector<std::string> patterns;
  FEDGLM_RETURN_IF_ERROR(CollectPatterns(pre_tokenizer, 0, patterns));
  std::vector<std::string_view> names(architecture.pretokenizers.begin(), architecture.pretokenizers.end());
  names.insert(names.end(), std::begin(kNames), std::end(kNames));
  for (const std::string_view name : names) {
    if (StandsFor(name, patterns, ignore_merges)) return std::string(name);
  }
  return BadFileError("no pre-tokenizer that is known has its patterns");
}

}  // namespace fedglm
