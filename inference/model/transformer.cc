#include "inference/model/transformer.h"

#include <algorithm>
#include <utility>

#include "inference/kernels/instruction_sets.h"
#include "inference/kernels/kernels.h"
#include "inference/kernels/row_kernels.h"
#include "inference/model/attention.h"
#include "inference/model/rotary.h"
#include "inference/quantization/codec.h"

namespace fedglm {
namespace {

// A vector tensor (norm, bias) as float32; empty if the file has none of that name.
std::vector<float> DecodeVector(const GgufFile& file, const std::string& name) {
  const GgufTensor* const tensor = file.FindTensor(name);
  if (tensor == nullptr) return {};
  std::vector<float> values(static_cast<size_t>(tensor->columns()));
  DecodeRow(tensor->type, tensor->bytes.data(), values.data(), tensor->columns());
  return values;
}

LinearLayer BindLinear(const GgufFile& file, const std::string& prefix) {
  const GgufTensor* const tensor = file.FindTensor(prefix + ".weight");
  if (tensor == nullptr) return {};
  return {prefix + ".weight", tensor->AsMatrix(), DecodeVector(file, prefix + ".bias")};
}

// The weights of one layer, held in memory for a scope.
class ResidentLayer {
 public:
  static absl::StatusOr<ResidentLayer> Acquire(WeightResidency* residency, int64_t layer) {
    if (residency == nullptr) return ResidentLayer(nullptr, layer, 0);
    FEDGLM_ASSIGN_OR_RETURN(const ptrdiff_t displacement, residency->Acquire(layer));
    return ResidentLayer(residency, layer, displacement);
  }
  ResidentLayer(ResidentLayer&& other) noexcept
      : residency_(std::exchange(other.residency_, nullptr)),
        layer_(other.layer_),
        displacement_(other.displacement_) {}
  ResidentLayer& operator=(ResidentLayer&&) = delete;
  ~ResidentLayer() {
    if (residency_ != nullptr) residency_->Release(layer_);
  }
  ptrdiff_t displacement() const { return displacement_; }

 private:
  ResidentLayer(WeightResidency* residency, int64_t layer, ptrdiff_t displacement)
      : residency_(residency), layer_(layer), displacement_(displacement) {}
  WeightResidency* residency_;
  int64_t layer_;
  ptrdiff_t displacement_;
};

WeightMatrix Displaced(WeightMatrix weights, ptrdiff_t displacement) {
  weights.data += displacement;
  return weights;
}

// body(row) for all rows: by the caller alone where waking threads would take longer.
template <typename Body>
void ForEachRow(int64_t rows, int64_t width, ThreadPool& pool, const Body& body) {
  constexpr int64_t kWorthAThread = 16384;  // numbers: some microseconds
  pool.ParallelFor(rows, std::max<int64_t>(1, kWorthAThread / width), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) body(row);
  });
}

// Neighbouring rows with the same adapter: it is applied to them at once.
struct AdapterRows {
  const BoundAdapter* adapter;
  int64_t first_row, count;
};

std::vector<AdapterRows> RowsByAdapter(const Batch& batch) {
  std::vector<AdapterRows> runs;
  for (const SequenceRows& rows : batch.sequences) {
    if (rows.adapter == nullptr) continue;
    if (!runs.empty() && runs.back().adapter == rows.adapter &&
        runs.back().first_row + runs.back().count == rows.first_row) {
      runs.back().count += rows.count;
    } else {
      runs.push_back({rows.adapter, rows.first_row, rows.count});
    }
  }
  return runs;
}

}  // namespace

// What all layers of one pass share.
struct Transformer::Pass {
  const Batch& batch;
  Workspace& w;
  ThreadPool& pool;
  const RowKernels& kernels;
  std::vector<AttentionTile> tiles;
  std::vector<AdapterRows> adapters;
  ptrdiff_t displacement = 0;  // of the layer that is computed now

  int64_t rows() const { return batch.rows(); }
};

absl::StatusOr<std::unique_ptr<Transformer>> Transformer::Make(std::shared_ptr<const GgufFile> file) {
  FEDGLM_RETURN_IF_ERROR(CheckInstructionSetOfEnvironment());
  std::unique_ptr<Transformer> model(new Transformer);
  FEDGLM_ASSIGN_OR_RETURN(model->hyperparameters_, ReadHyperparameters(*file));
  FEDGLM_ASSIGN_OR_RETURN(const GgufTensor* const embedding, file->RequireTensor("token_embd.weight"));
  const GgufTensor* const output = file->FindTensor("output.weight");
  model->embedding_ = embedding->AsMatrix();
  model->output_ = (output != nullptr ? output : embedding)->AsMatrix();
  model->output_norm_ = DecodeVector(*file, "output_norm.weight");
  model->frequencies_ = RotaryFrequencies(model->hyperparameters_, *file);
  for (int64_t i = 0; i < model->hyperparameters_.layers; ++i) {
    const std::string prefix = "blk." + std::to_string(i) + ".";
    Layer layer;
    layer.attention_norm = DecodeVector(*file, prefix + "attn_norm.weight");
    layer.post_attention_norm = DecodeVector(*file, prefix + "post_attention_norm.weight");
    layer.ffn_norm = DecodeVector(*file, prefix + "ffn_norm.weight");
    layer.post_ffn_norm = DecodeVector(*file, prefix + "post_ffw_norm.weight");
    layer.query_norm = DecodeVector(*file, prefix + "attn_q_norm.weight");
    layer.key_norm = DecodeVector(*file, prefix + "attn_k_norm.weight");
    layer.query = BindLinear(*file, prefix + "attn_q");
    layer.key = BindLinear(*file, prefix + "attn_k");
    layer.value = BindLinear(*file, prefix + "attn_v");
    layer.output = BindLinear(*file, prefix + "attn_output");
    layer.gate = BindLinear(*file, prefix + "ffn_gate");
    layer.up = BindLinear(*file, prefix + "ffn_up");
    layer.down = BindLinear(*file, prefix + "ffn_down");
    model->layers_.push_back(std::move(layer));
  }
  model->file_ = std::move(file);
  FEDGLM_RETURN_IF_ERROR(model->file_->CheckIntact());
  return model;
}

void Transformer::EmbedRows(const Pass& pass) const {
  const int64_t half = hyperparameters_.rotary_size / 2;
  ForEachRow(pass.rows(), hyperparameters_.hidden, pass.pool, [&](int64_t row) {
    DecodeRowFast(embedding_, pass.batch.tokens[static_cast<size_t>(row)],
                  pass.w.residual + row * hyperparameters_.hidden);
  });
  for (const SequenceRows& rows : pass.batch.sequences) {
    ForEachRow(rows.count, 64 * half, pass.pool, [&](int64_t i) {
      RotaryAngles(frequencies_, rows.cache->length() + i, pass.w.cosines + (rows.first_row + i) * half,
                   pass.w.sines + (rows.first_row + i) * half);
    });
  }
}

// x: the rows that pass.w.quantized was made of.
void Transformer::Linear(const LinearLayer& layer, const float* x, float* y, const Pass& pass) const {
  const int64_t inputs = layer.weights.columns, outputs = layer.weights.rows;
  if (observer_ != nullptr) observer_->Observe(layer.name, x, pass.rows(), inputs);
  MatMul(Displaced(layer.weights, pass.displacement), pass.w.quantized, y, pass.pool);
  if (!layer.bias.empty()) {
    ForEachRow(pass.rows(), outputs, pass.pool,
               [&](int64_t row) { pass.kernels.add(layer.bias.data(), y + row * outputs, outputs); });
  }
  for (const AdapterRows& run : pass.adapters) {
    run.adapter->Apply(layer.name, x + run.first_row * inputs, run.count, y + run.first_row * outputs, pass.kernels,
                       pass.pool);
  }
}

void Transformer::RotateAndStore(const Layer& layer, int64_t index, const Pass& pass) const {
  const Hyperparameters& h = hyperparameters_;
  const int64_t half = h.rotary_size / 2, size = h.head_size;
  for (const SequenceRows& rows : pass.batch.sequences) {
    const SequenceCache& cache = *rows.cache;
    const int64_t row_bytes = cache.layout().RowBytes(cache.format());
    ForEachRow(rows.count, h.query_width() + 2 * h.kv_width(), pass.pool, [&](int64_t i) {
      const int64_t row = rows.first_row + i, position = cache.length() + i;
      const float* const cosines = pass.w.cosines + row * half;
      const float* const sines = pass.w.sines + row * half;
      float* const query = pass.w.query + row * h.query_width();
      float* const key = pass.w.key + row * h.kv_width();
      const float* const value = pass.w.value + row * h.kv_width();
      const auto norm_and_rotate = [&](const std::vector<float>& norm, float* head) {
        if (!norm.empty()) pass.kernels.rms_norm(head, norm.data(), h.rms_epsilon, size, head);
        Rotate(h.rotary_layout, h.rotary_size, cosines, sines, head);
      };
      for (int64_t head = 0; head < h.heads; ++head) norm_and_rotate(layer.query_norm, query + head * size);
      const int64_t page = position / kPageTokens, offset = position % kPageTokens * row_bytes;
      for (int64_t head = 0; head < h.kv_heads; ++head) {
        norm_and_rotate(layer.key_norm, key + head * size);
        pass.kernels.encode_row(cache.format(), key + head * size, size, cache.Keys(index, head, page) + offset);
        pass.kernels.encode_row(cache.format(), value + head * size, size, cache.Values(index, head, page) + offset);
      }
    });
  }
}

void Transformer::Attention(const Layer& layer, int64_t index, const Pass& pass) const {
  const Hyperparameters& h = hyperparameters_;
  Workspace& w = pass.w;
  w.quantized.Assign(w.normed, pass.rows(), h.hidden, pass.pool);
  Linear(layer.query, w.normed, w.query, pass);
  Linear(layer.key, w.normed, w.key, pass);
  Linear(layer.value, w.normed, w.value, pass);
  RotateAndStore(layer, index, pass);
  CausalAttention(h, index, pass.tiles, pass.kernels, w.query, pass.pool);
  w.quantized.Assign(w.query, pass.rows(), h.query_width(), pass.pool);
  Linear(layer.output, w.query, w.normed, pass);
}

void Transformer::FeedForward(const Layer& layer, const Pass& pass) const {
  const int64_t width = hyperparameters_.feed_forward;
  Workspace& w = pass.w;
  w.quantized.Assign(w.normed, pass.rows(), hyperparameters_.hidden, pass.pool);
  Linear(layer.up, w.normed, w.up, pass);
  const bool fused = hyperparameters_.architecture->gate_in_up;
  if (!fused) Linear(layer.gate, w.normed, w.gate, pass);
  ForEachRow(pass.rows(), width, pass.pool, [&](int64_t row) {
    float* const out = w.gate + row * width;
    const float* const gate = fused ? w.up + 2 * row * width : out;
    const float* const up = fused ? gate + width : w.up + row * width;
    pass.kernels.silu_multiply(gate, up, out, width);
  });
  w.quantized.Assign(w.gate, pass.rows(), width, pass.pool);
  Linear(layer.down, w.gate, w.normed, pass);
}

// residual += norm(branch), which lies in `normed`; then normed = the next norm of the residual.
void Transformer::AddBranchAndNorm(const std::vector<float>& post_norm, const std::vector<float>* next_norm,
                                   const Pass& pass) const {
  const int64_t width = hyperparameters_.hidden;
  const double epsilon = hyperparameters_.rms_epsilon;
  ForEachRow(pass.rows(), width, pass.pool, [&](int64_t row) {
    float* const branch = pass.w.normed + row * width;
    float* const residual = pass.w.residual + row * width;
    if (!post_norm.empty()) pass.kernels.rms_norm(branch, post_norm.data(), epsilon, width, branch);
    pass.kernels.add(branch, residual, width);
    if (next_norm != nullptr) pass.kernels.rms_norm(residual, next_norm->data(), epsilon, width, branch);
  });
}

absl::Status Transformer::Forward(const Batch& batch, Workspace& workspace, ThreadPool& pool,
                                  WeightResidency* residency) const {
  const Hyperparameters& h = hyperparameters_;
  Pass pass{batch, workspace, pool, ChosenRowKernels(), PlanAttention(h, batch, pool.threads()), RowsByAdapter(batch)};
  EmbedRows(pass);
  ForEachRow(pass.rows(), h.hidden, pool, [&](int64_t row) {
    pass.kernels.rms_norm(workspace.residual + row * h.hidden, layers_.front().attention_norm.data(), h.rms_epsilon,
                          h.hidden, workspace.normed + row * h.hidden);
  });
  for (int64_t i = 0; i < h.layers; ++i) {
    const Layer& layer = layers_[static_cast<size_t>(i)];
    FEDGLM_ASSIGN_OR_RETURN(const ResidentLayer resident, ResidentLayer::Acquire(residency, i));
    pass.displacement = resident.displacement();
    Attention(layer, i, pass);
    AddBranchAndNorm(layer.post_attention_norm, &layer.ffn_norm, pass);
    FeedForward(layer, pass);
    const bool last = i + 1 == h.layers;
    AddBranchAndNorm(layer.post_ffn_norm, last ? nullptr : &layers_[static_cast<size_t>(i + 1)].attention_norm, pass);
  }
  return file_->CheckIntact();  // of a file that was cut meanwhile zeros were read
}

void Transformer::Hidden(std::span<const int64_t> rows, Workspace& workspace, float* hidden, ThreadPool& pool) const {
  const int64_t width = hyperparameters_.hidden;
  const RowKernels& kernels = ChosenRowKernels();
  ForEachRow(static_cast<int64_t>(rows.size()), width, pool, [&](int64_t i) {
    kernels.rms_norm(workspace.residual + rows[static_cast<size_t>(i)] * width, output_norm_.data(),
                     hyperparameters_.rms_epsilon, width, hidden + i * width);
  });
}

absl::Status Transformer::Logits(std::span<const int64_t> rows, Workspace& workspace, ThreadPool& pool,
                                 WeightResidency* residency) const {
  FEDGLM_ASSIGN_OR_RETURN(const ResidentLayer resident, ResidentLayer::Acquire(residency, hyperparameters_.layers));
  Hidden(rows, workspace, workspace.normed, pool);
  if (observer_ != nullptr) {
    observer_->Observe(hyperparameters_.tied_embeddings ? "token_embd.weight" : "output.weight", workspace.normed,
                       static_cast<int64_t>(rows.size()), hyperparameters_.hidden);
  }
  workspace.quantized.Assign(workspace.normed, static_cast<int64_t>(rows.size()), hyperparameters_.hidden, pool);
  MatMul(Displaced(output_, resident.displacement()), workspace.quantized, workspace.logits, pool);
  return file_->CheckIntact();
}

}  // namespace fedglm
