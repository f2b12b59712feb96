// Which patterns a name in tokenizer.ggml.pre stands for. The patterns are those of the models' own tokenizer.json files.
#include <map>

#include "inference/tokenizer/pretokenizer.h"

namespace fedglm {
namespace {

constexpr char kGpt2[] = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// The pattern of cl100k and its descendants, by how many digits stay together.
std::string Cl100k(const std::string& digits) {
  return R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)" + digits +
         R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
}

// o200k and its kin: words are cut before an upper-case letter that follows lower-case ones.
std::string O200k(const std::string& contraction, const std::string& digits) {
  const std::string upper = R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])", lower = R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])";
  return R"([^\r\n\p{L}\p{N}]?)" + upper + "*" + lower + "+" + contraction + R"(|[^\r\n\p{L}\p{N}]?)" + upper + "+" +
         lower + "*" + contraction + "|" + digits + R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
}

constexpr char kContraction[] = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)";
constexpr char kCjk[] = R"([\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)";
constexpr char kDeepseekCjk[] = R"([\x{4e00}-\x{9fa5}\x{0800}-\x{4e00}\x{ac00}-\x{d7ff}]+)";
constexpr char kDeepseek3[] =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// DeepSeek-LLM's letters: Latin, Greek, Cyrillic, Armenian and the other cased scripts, but no CJK.
constexpr char kDeepseekLetters[] = R"(\s?(?:\p{Lu}|\p{Ll}|\p{Lt})+)";
constexpr char kDeepseekPunctuation[] =
    R"(\s?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3000}-\x{3002}]+)";
constexpr char kBloom[] = R"( ?[^(\s|.,!?…。，、।۔،)]+)";

using Facts = PretokenizerFacts;

std::map<std::string, Facts, std::less<>> MakeTable() {
  const Facts gpt2 = {{kGpt2}};
  const Facts digits_apart = {{R"(\p{N})", kGpt2}};
  const Facts llama3 = {{Cl100k(R"(\p{N}{1,3})")}, true, true};
  const Facts plain_llama3 = {{Cl100k(R"(\p{N}{1,3})")}};
  const Facts glm4 = {{Cl100k(R"(\p{N}{1,3})")}, true, false};
  const Facts qwen2 = {{Cl100k(R"(\p{N})")}};
  const Facts gpt4o = {{O200k(kContraction, R"(\p{N}{1,3})")}};
  const Facts bloom = {{kBloom}};
  const Facts deepseek3 = {{R"(\p{N}{1,3})", kCjk, kDeepseek3}};
  const Facts bailing = {
      {R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)"}};

  std::map<std::string, Facts, std::less<>> table;
  const auto add = [&](const Facts& facts, std::initializer_list<const char*> names) {
    for (const char* name : names) table[name] = facts;
  };
  add({{R"([\p{P}\$\+<=>\^~\|]+)", kGpt2, R"(\p{N}+)", R"([0-9][0-9][0-9])"}}, {"default"});
  add(gpt2, {"gpt-2", "phi-2", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "jina-v1-en", "jina-v2-code",
             "roberta-bpe", "gigachat", "a.x-4.0", "mellum", "modern-bert", "mpt", "olmo", "jais", "trillion",
             "granite-docling", "exaone4"});
  add(digits_apart, {"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"});
  add(llama3, {"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"});
  add(plain_llama3, {"dbrx", "smaug-bpe"});
  add(glm4, {"glm4", "chatglm-bpe"});
  add(qwen2, {"qwen2", "deepseek-r1-qwen", "kormo", "stablelm2", "megrez", "hunyuan", "grok-2", "solar-open"});
  add({{R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}},
      {"qwen35"});
  add({{R"([\r\n])", kDeepseekLetters, kDeepseekPunctuation, R"(\s+$)", kDeepseekCjk, R"(\p{N}+)"}}, {"deepseek-llm"});
  add({{R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", kDeepseekCjk, R"(\p{N})"}}, {"deepseek-coder"});
  add(deepseek3, {"deepseek-v3", "hunyuan-dense", "joyai-llm"});
  add({{R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2, R"([0-9][0-9][0-9])"}}, {"falcon"});
  add(bloom, {"bloom", "gpt3-finnish", "poro-chat"});
  add({{kBloom, R"(\p{N})"}}, {"viking"});
  add({{O200k("", R"(\p{N})")}, true, true}, {"tekken"});
  add(gpt4o, {"gpt-4o", "llama4", "kanana2", "minimax-m2"});
  add(bailing, {"bailingmoe", "bailingmoe2", "llada-moe"});
  add({{R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)"}},
      {"seed-coder"});
  add({{R"(\p{N}+)", R"((?=(\d{3})+(?!\d)))"}}, {"superbpe"});
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
