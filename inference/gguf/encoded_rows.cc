#include "inference/gguf/encoded_rows.h"

#include <algorithm>
#include <vector>

#include "base/thread_annotations.h"
#include "inference/quantization/codec.h"

namespace fedglm {
namespace {

constexpr int64_t kChunkBytes = 4 << 20;  // of float32 rows

// Of the errors of several threads, the one of the first row.
class FirstError {
 public:
  void Note(int64_t row, absl::Status status) {
    MutexLock lock(mutex_);
    if (!status_.ok() && row_ <= row) return;
    row_ = row;
    status_ = std::move(status);
  }
  absl::Status status() const {
    MutexLock lock(mutex_);
    return status_;
  }

 private:
  mutable Mutex mutex_;
  int64_t row_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::Status AppendEncoded(const EncodedRows& tensor, GgufWriter& writer, ThreadPool& pool,
                           const std::function<absl::Status()>& go_on) {
  const int64_t row_bytes = RowBytes(tensor.type, tensor.columns);
  const int64_t chunk = std::max<int64_t>(
      pool.threads(), kChunkBytes / std::max<int64_t>(1, tensor.columns * static_cast<int64_t>(sizeof(float))));
  std::vector<std::byte> encoded;
  for (int64_t begin = 0; begin < tensor.rows; begin += chunk) {
    const int64_t count = std::min(chunk, tensor.rows - begin);
    encoded.resize(static_cast<size_t>(count * row_bytes));
    FirstError error;
    pool.ParallelFor(count, std::max<int64_t>(1, count / (4 * pool.threads())), [&](int64_t first, int64_t last) {
      std::vector<float> row(static_cast<size_t>(tensor.columns));
      for (int64_t r = first; r < last; ++r) {
        tensor.read(begin + r, row.data());
        const absl::Status status =
            EncodeRow(tensor.type, row.data(), encoded.data() + r * row_bytes, tensor.columns, tensor.metric);
        if (!status.ok()) return error.Note(r, status);
      }
    });
    if (!error.status().ok()) return Annotate(error.status(), tensor.name);
    FEDGLM_RETURN_IF_ERROR(writer.Append(encoded));
    FEDGLM_RETURN_IF_ERROR(go_on());
  }
  return absl::OkStatus();
}

}  // namespace fedglm
