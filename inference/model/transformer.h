// The forward pass over a mapped GGUF of any architecture of the table: weights are multiplied as they lie in the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"
#include "inference/gguf/architecture.h"
#include "inference/gguf/gguf_file.h"
#include "inference/memory/weight_residency.h"
#include "inference/model/activation_observer.h"
#include "inference/model/batch.h"
#include "inference/model/bound_adapter.h"
#include "inference/model/workspace.h"
#include "inference/quantization/weight_matrix.h"

namespace fedglm {

// A linear layer as the forward pass sees it.
struct LinearLayer {
  std::string name;  // GGUF's, where an adapter's factors are found
  WeightMatrix weights;
  std::vector<float> bias;  // empty: none
};

// Immutable; thread-safe. A sequence's state is in its SequenceCache, a pass's in the Workspace.
class Transformer {
 public:
  // ConfigurationError if the environment's FEDGLM_ISA cannot be obeyed.
  static absl::StatusOr<std::unique_ptr<Transformer>> Make(std::shared_ptr<const GgufFile> file);

  const Hyperparameters& hyperparameters() const { return hyperparameters_; }
  const GgufFile& file() const { return *file_; }

  // Before the first pass: `observer` sees the input of every matrix from then on. It must outlive the passes.
  void SetObserver(ActivationObserver* observer) { observer_ = observer; }

  // Runs the batch's rows, at most workspace.rows, and writes their keys and values into the sequences' pages; the
  // caller then advances the caches. `residency` may be nullptr: all weights are read in the mapping. Its errors.
  absl::Status Forward(const Batch& batch, Workspace& workspace, ThreadPool& pool, WeightResidency* residency) const;

  // After Forward, of some of its rows, in this order:
  // the last hidden states after the last norm: [rows][hidden];
  void Hidden(std::span<const int64_t> rows, Workspace& workspace, float* hidden, ThreadPool& pool) const;
  // the output matrix times these, into workspace.logits: [rows][vocabulary], at most workspace.logit_rows.
  absl::Status Logits(std::span<const int64_t> rows, Workspace& workspace, ThreadPool& pool,
                      WeightResidency* residency) const;

 private:
  struct Layer {
    std::vector<float> attention_norm, post_attention_norm, ffn_norm, post_ffn_norm;  // post_*: may be empty
    std::vector<float> query_norm, key_norm;  // [head_size], of each head before it is rotated; may be empty
    LinearLayer query, key, value, output;
    LinearLayer gate;  // empty name if up holds both, the gate first
    LinearLayer up, down;
  };
  struct Pass;

  Transformer() = default;
  void EmbedRows(const Pass& pass) const;
  void Linear(const LinearLayer& layer, const float* x, float* y, const Pass& pass) const;
  void Attention(const Layer& layer, int64_t index, const Pass& pass) const;
  void RotateAndStore(const Layer& layer, int64_t index, const Pass& pass) const;
  void FeedForward(const Layer& layer, const Pass& pass) const;
  void AddBranchAndNorm(const std::vector<float>& post_norm, const std::vector<float>* next_norm,
                        const Pass& pass) const;

  std::shared_ptr<const GgufFile> file_;
  Hyperparameters hyperparameters_;
  WeightMatrix embedding_, output_;
  std::vector<float> output_norm_;
  std::vector<Layer> layers_;
  std::vector<double> frequencies_;
  ActivationObserver* observer_ = nullptr;
};

}  // namespace fedglm
