// Which patterns a name in tokenizer.ggml.pre stands for: every name that llama.cpp knows (September 2026), except
// "whitespace", which needs a normalizer. The patterns are those of the models' own tokenizer.json files; where
// llama.cpp had to bend one to std::regex (gpt-4o, tekken, tiny_aya), the model's is taken.
#include <map>

#include "inference/tokenizer/pretokenizer.h"

namespace fedglm {
namespace {

constexpr char kGpt2[] = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr char kContraction[] = R"((?i:'s|'t|'re|'ve|'m|'ll|'d))";
constexpr char kSpaces[] = R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kOneDigit[] = R"(\p{N})";
constexpr char kThreeDigits[] = R"(\p{N}{1,3})";

// The pattern of cl100k and its descendants, by how many digits stay together.
std::string Cl100kWords(const std::string& digits) {
  return R"([^\r\n\p{L}\p{N}]?\p{L}+|)" + digits + R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|)";
}
std::string Cl100k(const std::string& digits) {
  return std::string(kContraction) + "|" + Cl100kWords(digits) + kSpaces;
}

// o200k and its kin: words are cut before an upper-case letter that follows lower-case ones.
std::string O200kWords(const std::string& upper, const std::string& lower, const std::string& contraction) {
  const std::string begin = R"([^\r\n\p{L}\p{N}]?)";
  return begin + upper + "*" + lower + "+" + contraction + "|" + begin + upper + "+" + lower + "*" + contraction + "|";
}
std::string O200k(const std::string& contraction, const std::string& digits) {
  return O200kWords(R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])", R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])", contraction) + digits +
         R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|)" + kSpaces;
}

// Kimi K2: o200k's words of all but Han, whose stretches are cut out whole. The classes name what they lack.
std::string KimiK2() {
  const std::string upper = R"([^\p{Ll}\p{N}\p{P}\p{S}\p{Z}\p{C}\p{sc:Han}])";
  const std::string lower = R"([^\p{Lu}\p{Lt}\p{N}\p{P}\p{S}\p{Z}\p{C}\p{sc:Han}])";
  return R"(\p{sc:Han}+|)" + O200kWords(upper, lower, std::string(kContraction) + "?") + kThreeDigits +
         R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|)" + kSpaces;
}

// Jais 2: cl100k whose spaces are cut into powers of two.
std::string Jais2() {
  std::string pattern = std::string(kContraction) + "|" + Cl100kWords(kThreeDigits) + R"(\s*[\r\n]+)";
  for (const char* count : {"512", "256", "128", "64", "32", "16", "8", "4", "1,2"}) {
    pattern += R"(|\s{)" + std::string(count) + R"(}(?!\S))";
  }
  return pattern + R"(|\s)";
}

constexpr char kCjk[] = R"([\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)";
constexpr char kDeepseekCjk[] = R"([\x{4e00}-\x{9fa5}\x{0800}-\x{4e00}\x{ac00}-\x{d7ff}]+)";
constexpr char kDeepseekWords[] =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|)";
constexpr char kDeepseekPunctuation[] =
    R"(\s?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3000}-\x{3002}]+)";
// DeepSeek LLM lists its letters: the scripts with two cases, as of an older Unicode.
constexpr char kDeepseekLetters[] =
    R"(\s?[A-Za-z\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba}\x{1bc}-\x{1bf}\x{1c4}-\x{293}\x{295}-\x{2af})"
    R"(\x{370}-\x{373}\x{376}\x{377}\x{37b}-\x{37d}\x{37f}\x{386}\x{388}-\x{38a}\x{38c}\x{38e}-\x{3a1})"
    R"(\x{3a3}-\x{3f5}\x{3f7}-\x{481}\x{48a}-\x{52f}\x{531}-\x{556}\x{10a0}-\x{10c5}\x{13a0}-\x{13f5})"
    R"(\x{13f8}-\x{13fd}\x{1c90}-\x{1cba}\x{1cbd}-\x{1cbf}\x{1d00}-\x{1d2b}\x{1d6b}-\x{1d77})"
    R"(\x{1d79}-\x{1d9a}\x{1e00}-\x{1f15}\x{1f18}-\x{1f1d}\x{1f20}-\x{1f45}\x{1f48}-\x{1f4d})"
    R"(\x{1f50}-\x{1f57}\x{1f59}\x{1f5b}\x{1f5d}\x{1f5f}-\x{1f7d}\x{1f80}-\x{1fb4}\x{1fb6}-\x{1fbc}\x{1fbe})"
    R"(\x{1fc2}-\x{1fc4}\x{1fc6}-\x{1fcc}\x{1fd0}-\x{1fd3}\x{1fd6}-\x{1fdb}\x{1fe0}-\x{1fec})"
    R"(\x{1ff2}-\x{1ff4}\x{1ff6}-\x{1ffc}\x{2102}\x{2107}\x{210a}-\x{2113}\x{2115}\x{2119}-\x{211d}\x{2124})"
    R"(\x{2126}\x{2128}\x{212a}-\x{212d}\x{212f}-\x{2134}\x{2139}\x{213c}-\x{213f}\x{2145}-\x{2149}\x{214e})"
    R"(\x{2183}\x{2184}\x{2c00}-\x{2c7b}\x{2c7e}-\x{2ce4}\x{2ceb}-\x{2cee}\x{2cf2}\x{2cf3}\x{a640}-\x{a66d})"
    R"(\x{a680}-\x{a69b}\x{a722}-\x{a76f}\x{a771}-\x{a787}\x{a78b}-\x{a78e}\x{ab70}-\x{abbf})"
    R"(\x{fb00}-\x{fb06}\x{fb13}-\x{fb17}\x{ff21}-\x{ff3a}\x{ff41}-\x{ff5a}\x{10400}-\x{1044f})"
    R"(\x{104b0}-\x{104d3}\x{104d8}-\x{104fb}\x{10c80}-\x{10cb2}\x{10cc0}-\x{10cf2}\x{118a0}-\x{118df})"
    R"(\x{1e900}-\x{1e943}]+)";
constexpr char kYoutuScripts[] =
    R"([\x{ac00}-\x{d7a3}\x{3131}-\x{318e}]+|[\x{ff01}…“”‘’—\x{ff1a}\x{ff1b}\x{ff0c}\x{3001}-\x{303f})"
    R"(\x{fe30}-\x{fe4f}]+)"
    R"(|[\x{3105}-\x{312f}]+|[\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)";
// Scripts written without spaces. U+8C48 is what U+F900 is normalized to, and what the model uses.
constexpr char kAfmoeScripts[] =
    R"([\x{4e00}-\x{9fff}\x{3400}-\x{4dbf}\x{8c48}-\x{faff}\x{3040}-\x{309f}\x{30a0}-\x{30ff}\x{ff65}-\x{ff9f})"
    R"(\x{2f00}-\x{2fdf}\x{0e40}-\x{0e7f}\x{0e80}-\x{0eff}\x{1780}-\x{17ff}\x{1000}-\x{109f}\x{aa60}-\x{aa7f})"
    R"(\x{a9e0}-\x{a9ff}\x{ac00}-\x{d7af}\x{1100}-\x{11ff}]+)";
constexpr char kBloom[] = R"( ?[^(\s|.,!?…。，、।۔،)]+)";
constexpr char kLines[] = R"([^\n]+|\n+)";

using Facts = PretokenizerFacts;

std::map<std::string, Facts, std::less<>> MakeTable() {
  const std::string contraction = kContraction, optional_contraction = contraction + "?";
  const std::string deepseek_words = kDeepseekWords;
  const std::string deepseek3 = deepseek_words + R"( ?[\p{P}\p{S}]+[\r\n]*|)" + kSpaces;
  const Facts gpt4o = {{O200k(optional_contraction, kThreeDigits)}};
  Facts gpt4o_whole = gpt4o;
  gpt4o_whole.ignore_merges = true;
  const Facts gemma = {.patterns = {kLines}, .add_bos = true, .characters = true, .gemma = true};

  std::map<std::string, Facts, std::less<>> table;
  const auto add = [&](const Facts& facts, std::initializer_list<const char*> names) {
    for (const char* name : names) table[name] = facts;
  };
  add({{R"([\p{P}\$\+<=>\^~\|]+)", kGpt2, R"(\p{N}+)", R"([0-9][0-9][0-9])"}}, {"default"});
  add({{kGpt2}}, {"gpt-2", "phi-2", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "jina-v1-en", "jina-v2-code",
                  "roberta-bpe", "gigachat", "a.x-4.0", "mellum", "modern-bert", "mpt", "olmo", "jais", "trillion",
                  "granite-docling", "exaone4"});
  add({{kOneDigit, kGpt2}},
      {"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"});
  add({{Cl100k(kThreeDigits)}, true, true},
      {"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"});
  add({{Cl100k(kThreeDigits)}}, {"dbrx", "smaug-bpe"});
  add({{Cl100k(kThreeDigits)}, true}, {"glm4", "chatglm-bpe"});  // ignore_merges as in the model's tokenizer.json
  add({{Cl100k(kOneDigit)}},
      {"qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "stablelm2", "megrez", "hunyuan", "grok-2", "solar-open"});
  add({{kLines, Cl100k(kOneDigit)}}, {"laguna"});
  add({{Cl100kWords(kOneDigit) + kSpaces}}, {"ufakzeka"});
  add({{kThreeDigits, Cl100k(R"(\p{N}+)")}, true}, {"minicpm5"});
  add({{Jais2()}}, {"jais-2"});
  add({{contraction + R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)" + kSpaces}},
      {"qwen35"});
  add({{R"([\r\n])", kDeepseekLetters, kDeepseekPunctuation, R"(\s+$)", kDeepseekCjk, R"(\p{N}+)"}}, {"deepseek-llm"});
  add({{R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", kDeepseekCjk, kOneDigit}}, {"deepseek-coder"});
  add({{kThreeDigits, kCjk, deepseek3}}, {"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"});
  add({{kThreeDigits, kCjk, deepseek_words + R"( ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+)", kOneDigit}}, {"spark2_5"});
  add({{{R"(\p{N}+)", MatchCut::kIntoThrees}, kAfmoeScripts, deepseek3}}, {"afmoe"});
  add({{R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2, R"([0-9][0-9][0-9])"}}, {"falcon"});
  add({{kBloom}}, {"bloom", "gpt3-finnish", "poro-chat"});
  add({{kBloom, kOneDigit}}, {"viking"});
  add({{O200k("", kOneDigit)}, true, true}, {"tekken"});
  add(gpt4o, {"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"});
  add(gpt4o_whole, {"granite-embed-multi-97m"});
  add({{kYoutuScripts, O200k(optional_contraction, kOneDigit)}, true}, {"youtu"});
  // \d+ before a word's boundary: the digits of "12345ab" are not grouped here, but by what follows.
  add({{{R"((?<!\d)\d++\b)", MatchCut::kIntoThrees}, O200k(optional_contraction, kThreeDigits)}},
      {"tiny_aya", "cohere2moe"});
  add({{KimiK2()}}, {"kimi-k2"});
  add({{R"('(?i:[sdmt]|ll|ve|re)|)" + Cl100kWords(kOneDigit) + R"(\s*[\r\n]|\s+(?!\S)|\s+)"}},
      {"bailingmoe", "bailingmoe2", "llada-moe"});
  add({{contraction + R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|)" + kSpaces}}, {"seed-coder"});
  add({{contraction + R"(|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*+(?: \p{L}\p{M}*+)*+)++|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|)" +
        R"(\s*[\r\n]|\s+(?!\S)|\s+)"}},
      {"exaone-moe"});
  add({{R"(\p{N}+)", {R"(\d+)", MatchCut::kBeforeThrees}}}, {"superbpe"});
  add({{R"(<sentinel:[0-9]+>)", R"(IMGIMG[A-I]{1,4}Z)", R"([\t\n]|    |  )", kOneDigit, R"([\p{P}!-/:-@\[-`{-~])",
        kGpt2},
       false,
       true},
      {"chameleon"});
  add(gemma, {"gemma4", "granite-embed-multi-311m"});
  add({.patterns = {kLines}, .characters = true}, {"sarvam-moe"});
  return table;
}

}  // namespace

absl::StatusOr<PretokenizerFacts> FindPretokenizer(std::string_view name) {
  static const std::map<std::string, Facts, std::less<>> table = MakeTable();
  // A file that names none is older than the key: llama.cpp takes the default then.
  const auto found = table.find(name.empty() ? "default" : name);
  if (found == table.end()) return BadFileError("pre-tokenizer '" + std::string(name) + "' is not supported");
  return found->second;
}

}  // namespace fedglm
