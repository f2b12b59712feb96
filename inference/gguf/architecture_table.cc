#include "inference/gguf/architecture_table.h"

#include <algorithm>
#include <string>
#include <vector>

namespace fedglm {
namespace {

constexpr size_t kMaxShownBytes = 64;  // of a file's text, in a message

constexpr NormRow kAttentionNorm = {"attn_norm", "input_layernorm"};
constexpr NormRow kFeedForwardNorm = {"ffn_norm", "post_attention_layernorm"};

constexpr NormRow kNorms[] = {kAttentionNorm, kFeedForwardNorm};
// Also after each branch, before it is added to the residual.
constexpr NormRow kSandwichNorms[] = {kAttentionNorm,
                                      kFeedForwardNorm,
                                      {"post_attention_norm", "post_self_attn_layernorm"},
                                      {"post_ffw_norm", "post_mlp_layernorm"}};

// Also of each head's query and key, before they are rotated.
constexpr NormRow kNormsWithHeads[] = {kAttentionNorm,
                                       kFeedForwardNorm,
                                       {"attn_q_norm", "self_attn.q_norm", Extent::kHead},
                                       {"attn_k_norm", "self_attn.k_norm", Extent::kHead}};

constexpr LinearRow kQuery = {"attn_q", "self_attn.q_proj", Extent::kHidden, Extent::kQuery, true, true};
constexpr LinearRow kKey = {"attn_k", "self_attn.k_proj", Extent::kHidden, Extent::kKeyValue, true, true};
constexpr LinearRow kValue = {"attn_v", "self_attn.v_proj", Extent::kHidden, Extent::kKeyValue, false, true};
constexpr LinearRow kOutput = {"attn_output", "self_attn.o_proj", Extent::kQuery, Extent::kHidden};
constexpr LinearRow kDown = {"ffn_down", "mlp.down_proj", Extent::kFeedForward, Extent::kHidden};

constexpr LinearRow kLinears[] = {kQuery,
                                  kKey,
                                  kValue,
                                  kOutput,
                                  {"ffn_gate", "mlp.gate_proj", Extent::kHidden, Extent::kFeedForward},
                                  {"ffn_up", "mlp.up_proj", Extent::kHidden, Extent::kUp},
                                  kDown};
constexpr LinearRow kLinearsWithFusedGate[] = {
    kQuery, kKey, kValue, kOutput, {"ffn_up", "mlp.gate_up_proj", Extent::kHidden, Extent::kUp}, kDown};

constexpr CheckpointType kGlm4Types[] = {{"glm4", ""}, {"glm4v", "text_config"}};
constexpr CheckpointType kLlamaTypes[] = {{"llama", ""}};
constexpr CheckpointType kQwen2Types[] = {{"qwen2", ""}};
constexpr CheckpointType kQwen3Types[] = {{"qwen3", ""}};

constexpr std::string_view kGlm4Pretokenizers[] = {"glm4", "chatglm-bpe"};

constexpr Architecture kArchitectures[] = {
    {.name = "glm4",
     .checkpoint_types = kGlm4Types,
     .norms = kSandwichNorms,
     .linears = kLinearsWithFusedGate,
     .gate_in_up = true,
     .rotary_layout = RotaryLayout::kInterleaved,
     .checkpoint_rotary_layout = RotaryLayout::kInterleaved,
     .rotary_sections = true,
     .rotary_part = 0.5,
     .pretokenizers = kGlm4Pretokenizers,
     .control_tokens = {.begin = "[gMASK]", .end = "<|endoftext|>", .end_of_turn = "<|user|>"}},
    {.name = "llama",
     .checkpoint_types = kLlamaTypes,
     .norms = kNorms,
     .linears = kLinears,
     .rotary_layout = RotaryLayout::kInterleaved,
     .checkpoint_rotary_layout = RotaryLayout::kNeox},
    {.name = "qwen2",
     .checkpoint_types = kQwen2Types,
     .norms = kNorms,
     .linears = kLinears,
     .always_qkv_bias = true,
     .rotary_layout = RotaryLayout::kNeox,
     .checkpoint_rotary_layout = RotaryLayout::kNeox},
    {.name = "qwen3",
     .checkpoint_types = kQwen3Types,
     .norms = kNormsWithHeads,
     .linears = kLinears,
     .rotary_layout = RotaryLayout::kNeox,
     .checkpoint_rotary_layout = RotaryLayout::kNeox,
     .head_size = 128},
};

// "architecture 'mamba' is not supported (glm4 and llama are)".
absl::Status NotSupported(std::string_view what, std::string_view value, const std::vector<std::string_view>& known) {
  std::string text = std::string(what) + " '" + std::string(value.substr(0, kMaxShownBytes)) + "' is not supported (";
  for (size_t i = 0; i < known.size(); ++i) {
    text += (i == 0 ? "" : i + 1 == known.size() ? " and " : ", ") + std::string(known[i]);
  }
  return BadFileError(text + " are)");
}

template <typename Row>
const Row* FindByGgufName(std::span<const Row> rows, std::string_view gguf) {
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const Row& row) { return row.gguf == gguf; });
  return found == rows.end() ? nullptr : &*found;
}

}  // namespace

const NormRow* Architecture::FindNorm(std::string_view gguf) const { return FindByGgufName(norms, gguf); }

const LinearRow* Architecture::FindLinear(std::string_view gguf) const { return FindByGgufName(linears, gguf); }

std::span<const Architecture> Architectures() { return kArchitectures; }

absl::StatusOr<const Architecture*> FindArchitecture(std::string_view name) {
  std::vector<std::string_view> known;
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.name == name) return &architecture;
    known.push_back(architecture.name);
  }
  return NotSupported("architecture", name, known);
}

absl::StatusOr<CheckpointArchitecture> FindCheckpointArchitecture(std::string_view model_type) {
  std::vector<std::string_view> known;
  for (const Architecture& architecture : kArchitectures) {
    for (const CheckpointType& type : architecture.checkpoint_types) {
      if (type.model_type == model_type) return CheckpointArchitecture{&architecture, type.part};
      known.push_back(type.model_type);
    }
  }
  return NotSupported("model_type", model_type, known);
}

}  // namespace fedglm
