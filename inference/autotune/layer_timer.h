// Times multiplications with a model's own weights, as they lie in its file.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "base/status.h"
#include "base/thread_pool.h"
#include "inference/gguf/gguf_file.h"
#include "inference/kernels/kernels.h"
#include "inference/quantization/weight_matrix.h"

namespace fedglm {

// Not thread-safe. Takes up to 64 MiB of the file's pages and gives them back; `file` must outlive it.
class LayerTimer {
 public:
  // For passes of up to `most_rows` rows, by up to about `cores` threads. Reads the weights in. BadFile if the file has
  // no layer; the error of reading.
  static absl::StatusOr<std::unique_ptr<LayerTimer>> Make(const GgufFile& file, int64_t most_rows, int cores);
  ~LayerTimer();
  LayerTimer(const LayerTimer&) = delete;
  LayerTimer& operator=(const LayerTimer&) = delete;

  // As MeasurePass in tuning.h. One row is multiplied with whole layers, enough of them that they do not stay in a
  // cache; more rows with the beginning of the first layer, since they are bound by arithmetic.
  double Seconds(int threads, int64_t rows);

 private:
  LayerTimer() = default;
  ThreadPool& PoolOf(int threads);

  std::vector<WeightMatrix> layers_, beginning_;
  std::vector<float> inputs_, outputs_;
  QuantizedRows quantized_;
  std::map<int, std::unique_ptr<ThreadPool>> pools_;
};

}  // namespace fedglm
