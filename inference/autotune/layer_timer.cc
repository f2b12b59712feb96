#include "inference/autotune/layer_timer.h"

#include <algorithm>
#include <random>
#include <span>

#include "base/clock.h"
#include "base/memory.h"

namespace fedglm {
namespace {

constexpr int64_t kLayerBytes = int64_t{64} << 20;  // larger than most caches, read in a few milliseconds
// Weights for each core: some milliseconds with 256 rows, and enough tiles of rows that the cores end together.
constexpr int64_t kWeightsOfACore = int64_t{2} << 20;
constexpr int64_t kWholeTiles = 64;  // rows: a multiple of what a kernel unpacks at once

std::span<const std::byte> BytesOf(const WeightMatrix& matrix) {
  return {matrix.data, static_cast<size_t>(matrix.rows * RowBytes(matrix.type, matrix.columns))};
}

// The layers' matrices in file order, up to kLayerBytes; at least one.
std::vector<WeightMatrix> LayersOf(const GgufFile& file) {
  std::vector<WeightMatrix> matrices;
  int64_t bytes = 0;
  for (const GgufTensor& tensor : file.tensors()) {
    if (tensor.name.rfind("blk.", 0) != 0 || tensor.dimensions != 2) continue;
    WeightMatrix matrix = tensor.AsMatrix();
    const int64_t row_bytes = RowBytes(matrix.type, matrix.columns);
    matrix.rows = std::min(matrix.rows, std::max<int64_t>(1, (kLayerBytes - bytes) / row_bytes));
    matrices.push_back(matrix);
    bytes += matrix.rows * row_bytes;
    if (bytes >= kLayerBytes) break;
  }
  return matrices;
}

// So many weights of them, from the first on.
std::vector<WeightMatrix> Beginning(const std::vector<WeightMatrix>& matrices, int64_t weights) {
  std::vector<WeightMatrix> beginning;
  for (const WeightMatrix& matrix : matrices) {
    if (weights <= 0) break;
    WeightMatrix part = matrix;
    const int64_t rows = (weights / matrix.columns + kWholeTiles) / kWholeTiles * kWholeTiles;
    part.rows = std::min(matrix.rows, rows);
    beginning.push_back(part);
    weights -= part.rows * part.columns;
  }
  return beginning;
}

}  // namespace

absl::StatusOr<std::unique_ptr<LayerTimer>> LayerTimer::Make(const GgufFile& file, int64_t most_rows, int cores) {
  std::unique_ptr<LayerTimer> timer(new LayerTimer);
  timer->layers_ = LayersOf(file);
  if (timer->layers_.empty()) return BadFileError(file.path().string() + ": there is no layer to measure with");
  timer->beginning_ = Beginning(timer->layers_, kWeightsOfACore * std::max(1, cores));
  for (const WeightMatrix& matrix : timer->layers_) {
    AdviseHugePages(BytesOf(matrix));
    FEDGLM_RETURN_IF_ERROR(TouchPages(BytesOf(matrix)));
  }
  int64_t inputs = 0, outputs = 0;
  const auto make_room = [&](const std::vector<WeightMatrix>& matrices, int64_t rows) {
    for (const WeightMatrix& matrix : matrices) {
      inputs = std::max(inputs, rows * matrix.columns);
      outputs = std::max(outputs, rows * matrix.rows);
    }
  };
  make_room(timer->layers_, 1);
  make_room(timer->beginning_, most_rows);
  timer->outputs_.resize(static_cast<size_t>(outputs));
  std::minstd_rand random(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  timer->inputs_.resize(static_cast<size_t>(inputs));
  for (float& value : timer->inputs_) value = uniform(random);
  return timer;
}

LayerTimer::~LayerTimer() {
  for (const WeightMatrix& matrix : layers_) ForgetPages(BytesOf(matrix));
}

ThreadPool& LayerTimer::PoolOf(int threads) {
  std::unique_ptr<ThreadPool>& pool = pools_[threads];
  if (pool == nullptr) pool = std::make_unique<ThreadPool>(threads);
  return *pool;
}

double LayerTimer::Seconds(int threads, int64_t rows) {
  ThreadPool& pool = PoolOf(threads);
  const Stopwatch stopwatch;
  int64_t columns = 0;  // of what quantized_ holds
  for (const WeightMatrix& matrix : rows == 1 ? layers_ : beginning_) {
    if (matrix.columns != columns) quantized_.Assign(inputs_.data(), rows, columns = matrix.columns, pool);
    MatMul(matrix, quantized_, outputs_.data(), pool);
  }
  return stopwatch.Seconds();
}

}  // namespace fedglm
