#include "inference/import/checkpoint_config.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>

#include "base/json.h"
#include "inference/import/optional_json.h"

namespace fedglm {
namespace {

constexpr int64_t kMaxWidth = 1 << 20;

class ConfigReader {
 public:
  explicit ConfigReader(const Json& config) : config_(config) {}

  absl::StatusOr<int64_t> Required(const std::string& key, int64_t maximum) const {
    if (MemberOf(config_, key) == nullptr) return BadFileError("\"" + key + "\" is missing");
    return Optional(key, 1, maximum);
  }
  absl::StatusOr<int64_t> Optional(const std::string& key, int64_t fallback, int64_t maximum) const {
    const Json* const value = MemberOf(config_, key);
    if (value == nullptr) return fallback;
    if (!value->is_number_integer() || value->get<int64_t>() < 1 || value->get<int64_t>() > maximum) {
      return BadFileError("\"" + key + "\" is not an integer between 1 and " + std::to_string(maximum));
    }
    return value->get<int64_t>();
  }

 private:
  const Json& config_;
};

absl::StatusOr<double> Positive(const Json* value, const std::string& key, double fallback) {
  if (value == nullptr) return fallback;
  if (!value->is_number() || !(value->get<double>() > 0) || !std::isfinite(value->get<double>())) {
    return BadFileError("\"" + key + "\" is not a positive number");
  }
  return value->get<double>();
}

// Llama 3.1's: wavelengths that the original context held many times stay, those it did not hold once are stretched by
// `factor`, and between the two it is blended. (transformers, _compute_llama3_parameters)
absl::StatusOr<std::vector<float>> Llama3Divisors(const Hyperparameters& h, const Json& scaling) {
  const auto number = [&](const char* key, double fallback) { return Positive(MemberOf(scaling, key), key, fallback); };
  FEDGLM_ASSIGN_OR_RETURN(const double factor, number("factor", 8));
  FEDGLM_ASSIGN_OR_RETURN(const double low, number("low_freq_factor", 1));
  FEDGLM_ASSIGN_OR_RETURN(const double high, number("high_freq_factor", 4));
  FEDGLM_ASSIGN_OR_RETURN(const double context, number("original_max_position_embeddings", 8192));
  if (!(high > low)) return BadFileError("\"high_freq_factor\" is not above \"low_freq_factor\"");
  std::vector<float> divisors;
  for (int64_t i = 0; i < h.rotary_size / 2; ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(h.rotary_size);
    const double frequency = std::pow(h.rotary_base, exponent);
    const double turns = context * frequency / (2 * std::numbers::pi);  // within the original context
    const double kept = std::clamp((turns - low) / (high - low), 0.0, 1.0);
    divisors.push_back(static_cast<float>(1.0 / ((1.0 - kept) / factor + kept)));
  }
  return divisors;
}

absl::Status ReadRotary(const Json& config, CheckpointConfig& out) {
  Hyperparameters& h = out.hyperparameters;
  const Json *const parameters = MemberOf(config, "rope_parameters"), *const scaling = MemberOf(config, "rope_scaling");
  FEDGLM_ASSIGN_OR_RETURN(h.rotary_base,
                          Positive(MemberOfAny({parameters, &config}, "rope_theta"), "rope_theta", 10000.0));
  constexpr char kPart[] = "partial_rotary_factor";
  FEDGLM_ASSIGN_OR_RETURN(const double part,
                          Positive(MemberOfAny({parameters, &config}, kPart), kPart, h.architecture->rotary_part));
  h.rotary_size = static_cast<int64_t>(static_cast<double>(h.head_size) * std::min(part, 2.0));
  if (h.rotary_size < 2 || h.rotary_size > h.head_size || h.rotary_size % 2 != 0) {
    return BadFileError("\"partial_rotary_factor\" does not fit the heads");
  }
  if (const Json* sections = MemberOfAny({parameters, scaling}, "mrope_section")) {
    int64_t sum = 0;
    for (const Json& section : *sections) {
      if (!section.is_number_unsigned() || section.get<uint64_t>() > static_cast<uint64_t>(kMaxWidth)) {
        return BadFileError("\"mrope_section\" is malformed");
      }
      out.mrope_sections.push_back(section.get<int32_t>());
      sum += section.get<int64_t>();
    }
    if (!h.architecture->rotary_sections || !sections->is_array() || sections->size() != 3 ||
        sum != h.rotary_size / 2) {
      return BadFileError("\"mrope_section\" is not three numbers that make half of the rotary size");
    }
    out.mrope_sections.push_back(0);
    h.rotary_layout = RotaryLayout::kNeox;
  }
  const Json* type = MemberOfAny({parameters, scaling}, "rope_type");
  if (type == nullptr) type = MemberOfAny({parameters, scaling}, "type");
  const std::string name = type == nullptr ? "default" : TextOf(type);
  if (name == "linear") {
    FEDGLM_ASSIGN_OR_RETURN(const double factor, Positive(MemberOfAny({parameters, scaling}, "factor"), "factor", 1.0));
    h.rotary_scale = 1.0 / factor;
  } else if (name == "llama3") {
    FEDGLM_ASSIGN_OR_RETURN(out.rotary_divisors, Llama3Divisors(h, scaling != nullptr ? *scaling : *parameters));
  } else if (name != "default" && name != "mrope") {
    return BadFileError("rotary scaling of type '" + name.substr(0, 64) + "' is not supported");
  }
  return absl::OkStatus();
}

// Attention over a window of the last tokens only: with all of them the numbers would be others.
absl::Status CheckAttention(const Json& config) {
  bool whole = !IsTrue(MemberOf(config, "use_sliding_window"));
  if (const Json* types = MemberOf(config, "layer_types"); types != nullptr && types->is_array()) {
    for (const Json& type : *types) whole = whole && TextOf(&type) == "full_attention";
  }
  return whole ? absl::OkStatus() : BadFileError("attention over a sliding window is not supported");
}

absl::StatusOr<CheckpointConfig> Read(const Json& root) {
  const std::string model_type = TextOf(MemberOf(root, "model_type"));
  CheckpointConfig out;
  Hyperparameters& h = out.hyperparameters;
  FEDGLM_ASSIGN_OR_RETURN(const CheckpointArchitecture found, FindCheckpointArchitecture(model_type));
  h.architecture = found.architecture;
  h.rotary_layout = found.architecture->rotary_layout;
  const std::string part(found.part);
  const Json* const text = part.empty() ? &root : MemberOf(root, part);
  if (text == nullptr) return BadFileError("\"" + part + "\" is missing");
  const Json& config = *text;

  const ConfigReader reader(config);
  FEDGLM_ASSIGN_OR_RETURN(h.vocabulary, reader.Required("vocab_size", kMaxWidth * 4));
  FEDGLM_ASSIGN_OR_RETURN(h.layers, reader.Required("num_hidden_layers", 1024));
  FEDGLM_ASSIGN_OR_RETURN(h.hidden, reader.Required("hidden_size", kMaxWidth));
  FEDGLM_ASSIGN_OR_RETURN(h.feed_forward, reader.Required("intermediate_size", kMaxWidth));
  FEDGLM_ASSIGN_OR_RETURN(h.heads, reader.Required("num_attention_heads", 4096));
  FEDGLM_ASSIGN_OR_RETURN(h.kv_heads, reader.Optional("num_key_value_heads", h.heads, 4096));
  const int64_t usual_head = h.architecture->head_size;
  FEDGLM_ASSIGN_OR_RETURN(
      h.head_size,
      reader.Optional("head_dim", usual_head > 0 ? usual_head : std::max<int64_t>(1, h.hidden / h.heads), 4096));
  FEDGLM_ASSIGN_OR_RETURN(h.context_length, reader.Optional("max_position_embeddings", 2048, int64_t{1} << 31));
  FEDGLM_ASSIGN_OR_RETURN(h.rms_epsilon, Positive(MemberOf(config, "rms_norm_eps"), "rms_norm_eps", 1e-5));
  if (h.heads % h.kv_heads != 0) return BadFileError("the number of heads is no multiple of the K/V heads");
  if (const Json* activation = MemberOf(config, "hidden_act"); activation != nullptr && TextOf(activation) != "silu") {
    return BadFileError("\"hidden_act\" is not \"silu\"");
  }
  FEDGLM_RETURN_IF_ERROR(CheckAttention(config));
  FEDGLM_RETURN_IF_ERROR(ReadRotary(config, out));
  h.tied_embeddings = IsTrue(MemberOfAny({&root, text}, "tie_word_embeddings"));
  h.qkv_bias = h.architecture->always_qkv_bias || IsTrue(MemberOf(config, "attention_bias"));
  return out;
}

// One id or a list of them; others are left out.
std::vector<int64_t> Ids(const Json* value) {
  std::vector<int64_t> ids;
  if (value == nullptr) return ids;
  for (const Json& id : value->is_array() ? *value : Json::array({*value})) {
    if (id.is_number_unsigned() && id.get<uint64_t>() < (uint64_t{1} << 31)) ids.push_back(id.get<int64_t>());
  }
  return ids;
}

}  // namespace

absl::StatusOr<CheckpointConfig> ReadCheckpointConfig(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "config.json";
  FEDGLM_ASSIGN_OR_RETURN(const Json root, ReadJsonFile(path, true));
  absl::StatusOr<CheckpointConfig> config = Read(root);
  if (!config.ok()) return Annotate(config.status(), path.string());
  FEDGLM_ASSIGN_OR_RETURN(const Json generation, ReadJsonFile(folder / "generation_config.json", false));
  const Json* const text = MemberOf(root, "text_config");
  config->end_token_ids = Ids(MemberOfAny({&generation, text, &root}, "eos_token_id"));
  const std::vector<int64_t> begin = Ids(MemberOfAny({&generation, text, &root}, "bos_token_id"));
  if (!begin.empty()) config->begin_token_id = begin.front();
  std::error_code error;
  const std::filesystem::path whole = std::filesystem::weakly_canonical(folder, error);
  config->hyperparameters.name = (error || whole.filename().empty() ? folder : whole).filename().string();
  return config;
}

}  // namespace fedglm
