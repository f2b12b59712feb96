#include "inference/import/checkpoint_vocabulary.h"

#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "base/json.h"
#include "inference/import/checkpoint_pretokenizer.h"
#include "inference/import/optional_json.h"

namespace fedglm {
namespace {

// tokenizer.ggml.token_type
constexpr int32_t kNormal = 1, kControl = 3, kUserDefined = 4, kUnused = 5;

bool StartsWith(std::string_view text, std::string_view start) { return text.substr(0, start.size()) == start; }

// Some checkpoints do not mark their control tokens as special: llama.cpp's converter tells them by their look.
bool LooksLikeControl(std::string_view text) {
  if (text == "<pad>" || text == "<mask>") return true;
  return text.size() > 4 && StartsWith(text, "<|") && text.substr(text.size() - 2) == "|>";
}

// tokenizer.json, made into a vocabulary.
class TokenizerReader {
 public:
  TokenizerReader(const Json& tokenizer, const CheckpointConfig& config) : json_(tokenizer), config_(config) {}

  absl::StatusOr<CheckpointVocabulary> Read() {
    const Json* const model = MemberOf(json_, "model");
    if (model == nullptr) return BadFileError("it has no \"model\"");
    FEDGLM_RETURN_IF_ERROR(CheckFamily(*model));
    FEDGLM_RETURN_IF_ERROR(CheckNormalizer());
    FEDGLM_RETURN_IF_ERROR(ReadTokens(*model));
    FEDGLM_RETURN_IF_ERROR(ReadAddedTokens());
    FEDGLM_RETURN_IF_ERROR(ReadMerges(*model));
    const Json* const pre_tokenizer = MemberOf(json_, "pre_tokenizer");
    absl::StatusOr<std::string> name =
        NameOfPretokenizer(pre_tokenizer == nullptr ? Json() : *pre_tokenizer,
                           IsTrue(MemberOf(*model, "ignore_merges")), *config_.hyperparameters.architecture);
    if (!name.ok()) return Annotate(name.status(), "pre_tokenizer");
    vocabulary_.pretokenizer = *std::move(name);
    for (size_t i = 0; i < vocabulary_.tokens.size(); ++i) {
      if (!taken_[i]) vocabulary_.tokens[i] = "[PAD" + std::to_string(i) + "]";
    }
    return std::move(vocabulary_);
  }

 private:
  absl::Status CheckFamily(const Json& model) const {
    const std::string type = TextOf(MemberOf(model, "type"));
    if (type != "BPE" && !(type.empty() && MemberOf(model, "merges") != nullptr)) {
      return BadFileError("its model '" + type.substr(0, 64) + "' is not supported (BPE is)");
    }
    if (IsTrue(MemberOf(model, "byte_fallback"))) return BadFileError("SentencePiece vocabularies are not supported");
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      if (!TextOf(MemberOf(model, key)).empty()) return BadFileError(std::string("\"") + key + "\" is not supported");
    }
    return absl::OkStatus();
  }

  // NFC leaves nearly all text as it is, and GGUF has no key for it: llama.cpp's converter leaves it out as well.
  absl::Status CheckNormalizer() const {
    const Json* const normalizer = MemberOf(json_, "normalizer");
    const std::string type = normalizer == nullptr ? "NFC" : TextOf(MemberOf(*normalizer, "type"));
    const Json* const steps = normalizer == nullptr ? nullptr : MemberOf(*normalizer, "normalizers");
    if (type == "NFC" || (type == "Sequence" && steps != nullptr && steps->empty())) return absl::OkStatus();
    return BadFileError("its normalizer '" + type.substr(0, 64) + "' is not supported");
  }

  absl::Status Put(const std::string& text, const Json& id, int32_t kind) {
    const uint64_t size = vocabulary_.tokens.size();
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= size) {
      return BadFileError("token '" + text.substr(0, 64) + "' has no id below " + std::to_string(size) +
                          ", the embedding's rows");
    }
    const size_t at = id.get<size_t>();
    if (taken_[at] && vocabulary_.tokens[at] != text) {
      return BadFileError("id " + std::to_string(at) + " is there twice");
    }
    const auto [known, is_new] = ids_.emplace(text, at);
    if (!is_new && known->second != at) return BadFileError("token '" + text.substr(0, 64) + "' has two ids");
    taken_[at] = true;
    vocabulary_.tokens[at] = text;
    vocabulary_.kinds[at] = kind;
    return absl::OkStatus();
  }

  absl::Status ReadTokens(const Json& model) {
    const size_t size = static_cast<size_t>(config_.hyperparameters.vocabulary);
    vocabulary_.tokens.resize(size);
    vocabulary_.kinds.assign(size, kUnused);
    taken_.assign(size, false);
    const Json* const tokens = MemberOf(model, "vocab");
    if (tokens == nullptr || !tokens->is_object() || tokens->empty()) return BadFileError("its \"vocab\" is no object");
    for (const auto& [text, id] : tokens->items()) FEDGLM_RETURN_IF_ERROR(Put(text, id, kNormal));
    return absl::OkStatus();
  }

  absl::Status ReadAddedTokens() {
    const Json* const added = MemberOf(json_, "added_tokens");
    if (added == nullptr) return absl::OkStatus();
    if (!added->is_array()) return BadFileError("its \"added_tokens\" are no list");
    for (const Json& token : *added) {
      const std::string text = TextOf(MemberOf(token, "content"));
      const Json* const id = MemberOf(token, "id");
      if (text.empty() || id == nullptr) return BadFileError("an added token has no content or no id");
      const bool control = IsTrue(MemberOf(token, "special")) || LooksLikeControl(text);
      FEDGLM_RETURN_IF_ERROR(Put(text, *id, control ? kControl : kUserDefined));
    }
    return absl::OkStatus();
  }

  absl::Status ReadMerges(const Json& model) {
    const Json* const merges = MemberOf(model, "merges");
    if (merges == nullptr || !merges->is_array()) return BadFileError("its \"merges\" are no list");
    vocabulary_.merges.reserve(merges->size());
    // A vocabulary that was cut short keeps the merges that make what it dropped; the tokenizer leaves them out.
    std::unordered_set<std::string> dropped;
    for (const Json& merge : *merges) {
      std::string left, right;
      if (merge.is_array() && merge.size() == 2) {  // tokenizers 0.20 and newer
        left = TextOf(&merge[0]);
        right = TextOf(&merge[1]);
      } else {
        const std::string pair = TextOf(&merge);
        const size_t space = pair.find(' ');
        left = pair.substr(0, space);
        right = space == std::string::npos ? "" : pair.substr(space + 1);
      }
      const std::string which = "merge " + std::to_string(vocabulary_.merges.size());
      for (const std::string& part : {left, right}) {
        if (part.empty() || part.find(' ') != std::string::npos) return BadFileError(which + " is not a pair");
        if (!ids_.contains(part) && !dropped.contains(part)) return BadFileError(which + " joins what is no token");
      }
      if (!ids_.contains(left + right)) dropped.insert(left + right);
      vocabulary_.merges.push_back(left + " " + right);
    }
    return absl::OkStatus();
  }

  const Json& json_;
  const CheckpointConfig& config_;
  CheckpointVocabulary vocabulary_;
  std::vector<bool> taken_;
  std::unordered_map<std::string, size_t> ids_;
};

// A special token in tokenizer_config.json: its text, or an object that holds it.
std::string SpecialText(const Json& config, const char* key) {
  const Json* const value = MemberOf(config, key);
  if (value == nullptr) return "";
  return value->is_object() ? TextOf(MemberOf(*value, "content")) : TextOf(value);
}

class SpecialTokens {
 public:
  SpecialTokens(const Json& tokenizer, const Json& tokenizer_config, const CheckpointConfig& config,
                CheckpointVocabulary& vocabulary)
      : tokenizer_(tokenizer), tokenizer_config_(tokenizer_config), config_(config), vocabulary_(vocabulary) {
    for (size_t i = 0; i < vocabulary.tokens.size(); ++i) ids_.emplace(vocabulary.tokens[i], static_cast<int64_t>(i));
  }

  void Set() {
    vocabulary_.begin = Named("bos_token", config_.begin_token_id);
    vocabulary_.end = Named("eos_token", config_.end_token_ids.empty() ? -1 : config_.end_token_ids.front());
    vocabulary_.unknown = Named("unk_token", -1);
    vocabulary_.padding = Named("pad_token", -1);
    for (const int64_t id : config_.end_token_ids) {
      if (vocabulary_.end_of_turn < 0 && id != vocabulary_.end && InVocabulary(id)) vocabulary_.end_of_turn = id;
    }
    const ControlTokens& named = config_.hyperparameters.architecture->control_tokens;
    if (const int64_t id = Find(named.end); id >= 0) vocabulary_.end = vocabulary_.unknown = id;
    if (const int64_t id = Find(named.end_of_turn); id >= 0) vocabulary_.end_of_turn = id;
    if (const int64_t id = Find(named.begin); id >= 0) vocabulary_.begin = id;
    const Json* const processor = MemberOf(tokenizer_, "post_processor");
    if (processor != nullptr) ReadTemplate(*processor);
    for (const auto& [key, flag] :
         {std::pair("add_bos_token", &vocabulary_.add_begin), std::pair("add_eos_token", &vocabulary_.add_end)}) {
      const Json* const value = MemberOf(tokenizer_config_, key);
      if (value != nullptr && value->is_boolean()) *flag = value->get<bool>() ? 1 : 0;
    }
  }

 private:
  bool InVocabulary(int64_t id) const { return id >= 0 && id < static_cast<int64_t>(vocabulary_.tokens.size()); }
  // -1: there is none; as of an empty text.
  int64_t Find(std::string_view text) const {
    const auto found = text.empty() ? ids_.end() : ids_.find(std::string(text));
    return found == ids_.end() ? -1 : found->second;
  }
  int64_t Named(const char* key, int64_t fallback) const {
    const int64_t id = Find(SpecialText(tokenizer_config_, key));
    return id >= 0 ? id : InVocabulary(fallback) ? fallback : -1;
  }

  // What the processor puts around a text: BOS first and EOS last, as far as a GGUF can say it.
  void ReadTemplate(const Json& processor) {
    const std::string type = TextOf(MemberOf(processor, "type"));
    if (const Json* const inner = MemberOf(processor, "processors"); type == "Sequence" && inner != nullptr) {
      for (const Json& step : *inner) {
        if (TextOf(MemberOf(step, "type")) == "TemplateProcessing") ReadTemplate(step);
      }
      return;
    }
    const Json* const single = MemberOf(processor, "single");
    if (type != "TemplateProcessing" || single == nullptr || !single->is_array() || single->empty()) return;
    const auto is = [&](const Json& part, int64_t id) {
      const Json* const special = MemberOf(part, "SpecialToken");
      return special != nullptr && id >= 0 && Find(TextOf(MemberOf(*special, "id"))) == id;
    };
    // GLM-4 puts [gMASK]<sop>; its chat template writes both, and a BOS of the file's would double the first.
    const bool second_is_text = single->size() > 1 && MemberOf((*single)[1], "Sequence") != nullptr;
    vocabulary_.add_begin = is(single->front(), vocabulary_.begin) && second_is_text ? 1 : 0;
    vocabulary_.add_end = single->size() > 1 && is(single->back(), vocabulary_.end) ? 1 : 0;
  }

  const Json& tokenizer_;
  const Json& tokenizer_config_;
  const CheckpointConfig& config_;
  CheckpointVocabulary& vocabulary_;
  std::unordered_map<std::string, int64_t> ids_;
};

// tokenizer_config.json's, of several the one called "default"; or a file of its own.
absl::StatusOr<std::string> ReadChatTemplate(const std::filesystem::path& folder, const Json& tokenizer_config) {
  constexpr uint64_t kMaxBytes = 1 << 20;
  const std::filesystem::path path = folder / "chat_template.jinja";
  std::error_code error;
  if (std::filesystem::exists(path, error)) return ReadFile(path, kMaxBytes);
  const Json* const value = MemberOf(tokenizer_config, "chat_template");
  if (value != nullptr && value->is_array()) {
    for (const Json& named : *value) {
      if (TextOf(MemberOf(named, "name")) == "default") return TextOf(MemberOf(named, "template"));
    }
  }
  if (value != nullptr && value->is_string()) return value->get<std::string>();
  FEDGLM_ASSIGN_OR_RETURN(const Json json, ReadJsonFile(folder / "chat_template.json", false));
  return TextOf(MemberOf(json, "chat_template"));
}

}  // namespace

void CheckpointVocabulary::WriteTo(GgufWriter& writer) const {
  writer.AddString("tokenizer.ggml.model", "gpt2");
  writer.AddString("tokenizer.ggml.pre", pretokenizer);
  writer.AddStrings("tokenizer.ggml.tokens", tokens);
  writer.AddInt32s("tokenizer.ggml.token_type", kinds);
  writer.AddStrings("tokenizer.ggml.merges", merges);
  const std::pair<const char*, int64_t> ids[] = {{"bos_token_id", begin},
                                                 {"eos_token_id", end},
                                                 {"eot_token_id", end_of_turn},
                                                 {"unknown_token_id", unknown},
                                                 {"padding_token_id", padding}};
  for (const auto& [key, id] : ids) {
    if (id >= 0) writer.AddUint32(std::string("tokenizer.ggml.") + key, static_cast<uint32_t>(id));
  }
  if (add_begin >= 0) writer.AddBool("tokenizer.ggml.add_bos_token", add_begin == 1);
  if (add_end >= 0) writer.AddBool("tokenizer.ggml.add_eos_token", add_end == 1);
  if (!chat_template.empty()) writer.AddString("tokenizer.chat_template", chat_template);
}

absl::StatusOr<CheckpointVocabulary> ReadCheckpointVocabulary(const std::filesystem::path& folder,
                                                              const CheckpointConfig& config) {
  const std::filesystem::path path = folder / "tokenizer.json";
  FEDGLM_ASSIGN_OR_RETURN(const Json tokenizer, ReadJsonFile(path, true));
  FEDGLM_ASSIGN_OR_RETURN(const Json tokenizer_config, ReadJsonFile(folder / "tokenizer_config.json", false));
  absl::StatusOr<CheckpointVocabulary> vocabulary = TokenizerReader(tokenizer, config).Read();
  if (!vocabulary.ok()) return Annotate(vocabulary.status(), path.string());
  SpecialTokens(tokenizer, tokenizer_config, config, *vocabulary).Set();
  FEDGLM_ASSIGN_OR_RETURN(vocabulary->chat_template, ReadChatTemplate(folder, tokenizer_config));
  return vocabulary;
}

}  // namespace fedglm
