#include "inference/gguf/architecture.h"

#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <unordered_set>

#include "inference/gguf/gguf_writer.h"
#include "inference/quantization/codec.h"

namespace fedglm {
namespace {

constexpr int64_t kMaxWidth = 1 << 20;
constexpr size_t kMaxShownBytes = 64;  // of a file's text, in a message

constexpr size_t kMaxTemplateBytes = 1 << 20;

// Reads "ARCHITECTURE.key". A key that is there with another type is wrong: the default in its place would give other
// numbers in silence.
class KeyReader {
 public:
  KeyReader(const GgufFile& file, std::string_view architecture)
      : file_(file), prefix_(std::string(architecture) + ".") {}

  absl::StatusOr<int64_t> Required(const std::string& key, int64_t maximum) const { return Integer(key, 1, maximum); }
  absl::StatusOr<int64_t> Optional(const std::string& key, int64_t fallback, int64_t maximum) const {
    return Has(key) ? Integer(key, 1, maximum) : InRange(key, fallback, 1, maximum);
  }
  absl::StatusOr<int64_t> Count(const std::string& key) const { return Has(key) ? Integer(key, 0, INT64_MAX) : 0; }
  absl::StatusOr<double> Number(const std::string& key, double fallback) const {
    if (!Has(key)) return fallback;
    // NaN, if the value is no number.
    const double value = file_.NumberOr(Name(key), std::nan(""));
    if (!std::isfinite(value)) return BadFileError(Name(key) + " is not a finite number");
    return value;
  }
  absl::StatusOr<double> PositiveNumber(const std::string& key, double fallback) const {
    FEDGLM_ASSIGN_OR_RETURN(const double value, Number(key, fallback));
    if (!(value > 0)) return BadFileError(Name(key) + " must be positive");
    return value;
  }
  absl::StatusOr<std::string> Text(const std::string& key, const std::string& fallback) const {
    if (!Has(key)) return fallback;
    return file_.RequireString(Name(key));
  }
  // Empty if it is not there.
  absl::StatusOr<std::vector<int64_t>> Integers(const std::string& key) const {
    if (!Has(key)) return std::vector<int64_t>();
    const GgufArray* const array = file_.FindArray(Name(key));
    if (array != nullptr && array->strings.empty() && array->numbers.empty()) return array->integers;
    return BadFileError(Name(key) + " is not an array of integers");
  }

 private:
  std::string Name(const std::string& key) const { return prefix_ + key; }
  bool Has(const std::string& key) const { return file_.FindValue(Name(key)) != nullptr; }
  absl::StatusOr<int64_t> Integer(const std::string& key, int64_t minimum, int64_t maximum) const {
    FEDGLM_ASSIGN_OR_RETURN(const int64_t value, file_.RequireInteger(Name(key)));
    return InRange(key, value, minimum, maximum);
  }
  absl::StatusOr<int64_t> InRange(const std::string& key, int64_t value, int64_t minimum, int64_t maximum) const {
    if (value >= minimum && value <= maximum) return value;
    return BadFileError(Name(key) + " is " + std::to_string(value));
  }

  const GgufFile& file_;
  const std::string prefix_;
};

absl::Status CheckShape(const GgufFile& file, const std::string& name, int64_t columns, int64_t rows, bool required) {
  const GgufTensor* const tensor = file.FindTensor(name);
  if (tensor == nullptr) return required ? BadFileError("tensor '" + name + "' is missing") : absl::OkStatus();
  if (tensor->columns() != columns || tensor->rows() != rows) {
    return BadFileError("tensor '" + name + "' is " + std::to_string(tensor->rows()) + " x " +
                        std::to_string(tensor->columns()) + ", expected " + std::to_string(rows) + " x " +
                        std::to_string(columns));
  }
  return absl::OkStatus();
}

struct ExpectedTensor {
  std::string name;
  int64_t columns, rows;
  bool required;
};

// A layer's tensors, without their prefix "blk.N.".
std::vector<ExpectedTensor> LayerTensors(const Hyperparameters& h) {
  std::vector<ExpectedTensor> expected;
  for (const NormRow& norm : h.architecture->norms) {
    expected.push_back({std::string(norm.gguf) + ".weight", h.Size(norm.width), 1, true});
  }
  for (const LinearRow& linear : h.architecture->linears) {
    const std::string name(linear.gguf);
    expected.push_back({name + ".weight", h.Size(linear.inputs), h.Size(linear.outputs), true});
    expected.push_back({name + ".bias", h.Size(linear.outputs), 1, linear.qkv && h.architecture->always_qkv_bias});
  }
  return expected;
}

// Every tensor that the forward pass needs is there, and none that it would leave out: a model with, say, norms on its
// queries would give other numbers in silence.
absl::Status CheckTensors(const GgufFile& file, const Hyperparameters& h, int64_t blocks) {
  std::vector<ExpectedTensor> expected = {{"token_embd.weight", h.hidden, h.vocabulary, true},
                                          {"output.weight", h.hidden, h.vocabulary, false},
                                          {"output_norm.weight", h.hidden, 1, true},
                                          {"rope_freqs.weight", h.rotary_size / 2, 1, false}};
  for (int64_t layer = 0; layer < h.layers; ++layer) {
    for (ExpectedTensor& tensor : LayerTensors(h)) {
      tensor.name = "blk." + std::to_string(layer) + "." + tensor.name;
      expected.push_back(std::move(tensor));
    }
  }
  std::unordered_set<std::string> known;
  for (const ExpectedTensor& tensor : expected) {
    FEDGLM_RETURN_IF_ERROR(CheckShape(file, tensor.name, tensor.columns, tensor.rows, tensor.required));
    known.insert(tensor.name);
  }
  for (const GgufTensor& tensor : file.tensors()) {
    if (known.contains(tensor.name)) continue;
    int64_t layer = -1;
    const bool in_layer = std::sscanf(tensor.name.c_str(), "blk.%" SCNd64 ".", &layer) == 1;
    if (in_layer && layer >= h.layers && layer < blocks) continue;  // of a layer that only predicts further tokens
    return BadFileError("tensor '" + tensor.name + "' is none that this architecture has");
  }
  return absl::OkStatus();
}

// Only linear scaling is known here; what else a file asks for would silently give other numbers.
absl::Status ReadRotaryScaling(const KeyReader& keys, Hyperparameters& h) {
  FEDGLM_ASSIGN_OR_RETURN(const std::string type, keys.Text("rope.scaling.type", "linear"));  // llama.cpp's default
  FEDGLM_ASSIGN_OR_RETURN(const double old_factor, keys.Number("rope.scale_linear", 1.0));
  FEDGLM_ASSIGN_OR_RETURN(const double factor, keys.Number("rope.scaling.factor", old_factor));
  if (factor < 0) return BadFileError("rope.scaling.factor is not a positive number");
  if (type == "none") return absl::OkStatus();
  if (type == "linear") {
    h.rotary_scale = factor == 0 ? 1.0 : 1.0 / factor;  // llama.cpp reads factor 0 as none
    return absl::OkStatus();
  }
  return BadFileError("rotary scaling of type '" + type.substr(0, kMaxShownBytes) +
                      "' is not supported (none and linear are)");
}

absl::Status ReadRotaryLayout(const KeyReader& keys, Hyperparameters& h) {
  h.rotary_layout = h.architecture->rotary_layout;
  if (!h.architecture->rotary_sections) return absl::OkStatus();
  // Temporal, height, width, extra. A text token has the same position in the first three, so that its rotation is
  // NeoX's; the extra one has no position for text.
  FEDGLM_ASSIGN_OR_RETURN(const std::vector<int64_t> sections, keys.Integers("rope.dimension_sections"));
  int64_t sum = 0;
  for (const int64_t section : sections) {
    if (section < 0 || section > h.rotary_size) return BadFileError("rope.dimension_sections is out of range");
    sum += section;
  }
  if (sum == 0) return absl::OkStatus();
  if (sections.size() > 3 && sections[3] != 0) {
    return BadFileError("rope.dimension_sections with a fourth section is not supported");
  }
  h.rotary_layout = RotaryLayout::kNeox;
  return absl::OkStatus();
}

// Divisors of the rotary frequencies, [rotary_size / 2]; empty if the file has none.
std::vector<float> RotaryDivisors(const Hyperparameters& h, const GgufFile& file) {
  const GgufTensor* const tensor = file.FindTensor("rope_freqs.weight");
  if (tensor == nullptr) return {};
  std::vector<float> divisors(static_cast<size_t>(h.rotary_size / 2));
  DecodeRow(tensor->type, tensor->bytes.data(), divisors.data(), h.rotary_size / 2);
  return divisors;
}

absl::Status CheckRotaryDivisors(const Hyperparameters& h, const GgufFile& file) {
  for (const float divisor : RotaryDivisors(h, file)) {
    if (!std::isfinite(divisor) || divisor <= 0) {
      return BadFileError("rope_freqs.weight holds what is no positive number");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckTokenizerSize(const Hyperparameters& h, const GgufFile& file) {
  const GgufArray* const tokens = file.FindArray("tokenizer.ggml.tokens");
  if (tokens != nullptr && static_cast<int64_t>(tokens->strings.size()) > h.vocabulary) {
    return BadFileError("the tokenizer has more tokens than the embedding has rows");
  }
  const size_t template_bytes = file.StringOr("tokenizer.chat_template", "").size();
  if (template_bytes > kMaxTemplateBytes) {
    return BadFileError("tokenizer.chat_template of " + std::to_string(template_bytes) + " bytes is too long");
  }
  return absl::OkStatus();
}

absl::StatusOr<Hyperparameters> Read(const GgufFile& file) {
  FEDGLM_ASSIGN_OR_RETURN(const std::string architecture, file.RequireString("general.architecture"));
  Hyperparameters h;
  FEDGLM_ASSIGN_OR_RETURN(h.architecture, FindArchitecture(architecture));
  h.name = file.StringOr("general.name", architecture);
  const KeyReader keys(file, architecture);
  FEDGLM_ASSIGN_OR_RETURN(const int64_t blocks, keys.Required("block_count", 1024));
  // The last blocks of GLM-OCR and others only predict further tokens (multi-token prediction): they are not run.
  FEDGLM_ASSIGN_OR_RETURN(const int64_t prediction_blocks, keys.Count("nextn_predict_layers"));
  h.layers = blocks - prediction_blocks;
  FEDGLM_ASSIGN_OR_RETURN(h.hidden, keys.Required("embedding_length", kMaxWidth));
  FEDGLM_ASSIGN_OR_RETURN(h.feed_forward, keys.Required("feed_forward_length", kMaxWidth));
  FEDGLM_ASSIGN_OR_RETURN(h.heads, keys.Required("attention.head_count", 4096));
  FEDGLM_ASSIGN_OR_RETURN(h.kv_heads, keys.Optional("attention.head_count_kv", h.heads, 4096));
  FEDGLM_ASSIGN_OR_RETURN(h.context_length, keys.Optional("context_length", 2048, int64_t{1} << 31));
  FEDGLM_ASSIGN_OR_RETURN(h.head_size,
                          keys.Optional("attention.key_length", std::max<int64_t>(1, h.hidden / h.heads), 4096));
  FEDGLM_ASSIGN_OR_RETURN(const int64_t value_size, keys.Optional("attention.value_length", h.head_size, 4096));
  FEDGLM_ASSIGN_OR_RETURN(h.rotary_size, keys.Optional("rope.dimension_count", h.head_size, 4096));
  FEDGLM_ASSIGN_OR_RETURN(h.rotary_base, keys.PositiveNumber("rope.freq_base", 10000.0));
  FEDGLM_ASSIGN_OR_RETURN(h.rms_epsilon, keys.PositiveNumber("attention.layer_norm_rms_epsilon", 1e-5));
  FEDGLM_ASSIGN_OR_RETURN(const int64_t experts, keys.Count("expert_count"));
  if (h.layers < 1) return BadFileError("nextn_predict_layers is " + std::to_string(prediction_blocks));
  if (h.heads % h.kv_heads != 0) return BadFileError("the number of heads is no multiple of the K/V heads");
  if (value_size != h.head_size) return BadFileError("keys and values of different sizes are not supported");
  if (h.rotary_size > h.head_size || h.rotary_size % 2 != 0)
    return BadFileError("rope.dimension_count does not fit the heads");
  if (experts > 0) return BadFileError("mixture-of-experts models are not supported");
  FEDGLM_RETURN_IF_ERROR(ReadRotaryScaling(keys, h));
  FEDGLM_RETURN_IF_ERROR(ReadRotaryLayout(keys, h));

  FEDGLM_ASSIGN_OR_RETURN(const GgufTensor* const embedding, file.RequireTensor("token_embd.weight"));
  h.vocabulary = embedding->rows();
  h.tied_embeddings = file.FindTensor("output.weight") == nullptr;
  h.qkv_bias = file.FindTensor("blk.0.attn_q.bias") != nullptr;
  FEDGLM_RETURN_IF_ERROR(CheckTensors(file, h, blocks));
  FEDGLM_RETURN_IF_ERROR(CheckRotaryDivisors(h, file));
  FEDGLM_RETURN_IF_ERROR(CheckTokenizerSize(h, file));
  return h;
}

// The GGUF row of Hugging Face's row i, for the heads of Q or K. Empty where both have the same layout.
std::vector<int32_t> RowsInGguf(const Hyperparameters& h, int64_t heads) {
  const RotaryLayout in_checkpoint = h.architecture->checkpoint_rotary_layout;
  if (h.rotary_layout == in_checkpoint) return {};
  const bool half_split_in_hf = in_checkpoint == RotaryLayout::kNeox;
  const int64_t half = h.rotary_size / 2;
  std::vector<int32_t> rows;
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t i = 0; i < h.head_size; ++i) {
      int64_t row = i;
      if (i < h.rotary_size) row = half_split_in_hf ? (i % half) * 2 + i / half : (i % 2) * half + i / 2;
      rows.push_back(static_cast<int32_t>(head * h.head_size + row));
    }
  }
  return rows;
}

}  // namespace

int64_t Hyperparameters::Size(Extent extent) const {
  switch (extent) {
    case Extent::kHidden:
      return hidden;
    case Extent::kQuery:
      return query_width();
    case Extent::kKeyValue:
      return kv_width();
    case Extent::kHead:
      return head_size;
    case Extent::kFeedForward:
      return feed_forward;
    case Extent::kUp:
      return up_width();
  }
  return 0;
}

absl::StatusOr<Hyperparameters> ReadHyperparameters(const GgufFile& file) {
  absl::StatusOr<Hyperparameters> hyperparameters = Read(file);
  if (!hyperparameters.ok() && Message(hyperparameters.status()).rfind(file.path().string(), 0) != 0) {
    return Annotate(hyperparameters.status(), file.path().string());
  }
  return hyperparameters;
}

void WriteHyperparameters(const Hyperparameters& h, GgufWriter& writer) {
  const std::string prefix = std::string(h.architecture->name) + ".";
  const auto integer = [&](const char* key, int64_t value) {
    writer.AddUint32(prefix + key, static_cast<uint32_t>(value));
  };
  const auto number = [&](const char* key, double value) {
    writer.AddFloat32(prefix + key, static_cast<float>(value));
  };
  writer.AddString("general.architecture", h.architecture->name);
  writer.AddString("general.name", h.name);
  integer("block_count", h.layers);
  integer("context_length", h.context_length);
  integer("embedding_length", h.hidden);
  integer("feed_forward_length", h.feed_forward);
  integer("attention.head_count", h.heads);
  integer("attention.head_count_kv", h.kv_heads);
  integer("attention.key_length", h.head_size);
  integer("attention.value_length", h.head_size);
  number("attention.layer_norm_rms_epsilon", h.rms_epsilon);
  number("rope.freq_base", h.rotary_base);
  integer("rope.dimension_count", h.rotary_size);
  if (h.rotary_scale != 1.0) {
    writer.AddString(prefix + "rope.scaling.type", "linear");
    number("rope.scaling.factor", 1.0 / h.rotary_scale);
  }
  integer("vocab_size", h.vocabulary);
}

std::vector<double> RotaryFrequencies(const Hyperparameters& h, const GgufFile& file) {
  const size_t half = static_cast<size_t>(h.rotary_size / 2);
  std::vector<double> frequencies(half);
  for (size_t i = 0; i < half; ++i) {
    frequencies[i] =
        h.rotary_scale * std::pow(h.rotary_base, -2.0 * static_cast<double>(i) / static_cast<double>(h.rotary_size));
  }
  // Llama 3's long-context factors, one divisor a pair.
  const std::vector<float> divisors = RotaryDivisors(h, file);
  for (size_t i = 0; i < divisors.size(); ++i) frequencies[i] /= static_cast<double>(divisors[i]);
  return frequencies;
}

std::vector<LinearModule> LinearModules(const Hyperparameters& h) {
  const std::vector<int32_t> query_rows = RowsInGguf(h, h.heads), key_rows = RowsInGguf(h, h.kv_heads);
  std::vector<LinearModule> modules;
  for (int64_t layer = 0; layer < h.layers; ++layer) {
    const std::string gguf = "blk." + std::to_string(layer) + ".";
    const std::string peft = "model.layers." + std::to_string(layer) + ".";
    for (const LinearRow& row : h.architecture->linears) {
      LinearModule module;
      module.layer = layer;
      module.gguf_name = gguf + std::string(row.gguf) + ".weight";
      module.peft_name = peft + std::string(row.checkpoint);
      module.target = row.checkpoint.substr(row.checkpoint.rfind('.') + 1);
      module.inputs = h.Size(row.inputs);
      module.outputs = h.Size(row.outputs);
      if (row.rotated) module.gguf_row_of = row.outputs == Extent::kQuery ? query_rows : key_rows;
      module.needs_bias = row.qkv && h.qkv_bias;
      modules.push_back(std::move(module));
    }
  }
  return modules;
}

}  // namespace fedglm
