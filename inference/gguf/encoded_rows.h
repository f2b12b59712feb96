// Streams a tensor's rows through the encoder into a GGUF file: a few megabytes of rows in memory, encoded on all
// threads.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/status.h"
#include "base/thread_pool.h"
#include "inference/gguf/gguf_writer.h"
#include "inference/quantization/block_type.h"
#include "inference/quantization/error_metric.h"

namespace fedglm {

struct EncodedRows {
  std::string name;  // for messages
  BlockType type = BlockType::kF32;
  int64_t rows = 0, columns = 0;
  // Fills values[columns] with a row. Called from several threads at once.
  std::function<void(int64_t row, float* values)> read;
  const ErrorMetric* metric = nullptr;  // as for EncodeRow
};

// The next tensor of `writer`, which must have been declared so. `go_on` is asked after every few megabytes; its
// error ends the work. Errors name the tensor: a weight that is not finite or too large for the type is BadFile. The
// bytes do not depend on the number of threads.
absl::Status AppendEncoded(const EncodedRows& tensor, GgufWriter& writer, ThreadPool& pool,
                           const std::function<absl::Status()>& go_on);

}  // namespace fedglm
