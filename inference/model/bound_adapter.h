// An adapter made ready for a base: factors in the base's row order, found by the GGUF name of the matrix they belong
// to.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "adapter/adapter.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "inference/gguf/architecture.h"
#include "inference/kernels/row_kernels.h"
#include "inference/memory/adapter_memory.h"

namespace fedglm {

// Immutable; thread-safe.
class BoundAdapter {
 public:
  // Of its factors in memory.
  static uint64_t Bytes(const Adapter& adapter);
  // Takes Bytes(adapter) of `memory`, which must outlive it. BadFile if a module is not one of the base's, or a shape
  // differs; ResourceExhausted if `memory` has no room.
  static absl::StatusOr<std::shared_ptr<const BoundAdapter>> Bind(const Adapter& adapter,
                                                                  const std::vector<LinearModule>& modules,
                                                                  AdapterMemory& memory);

  uint64_t bytes() const { return share_.bytes(); }

  // y[t] += scale * B (A x[t]) if the matrix has factors. x: [tokens][inputs], y: [tokens][outputs].
  void Apply(const std::string& gguf_name, const float* x, int64_t tokens, float* y, const RowKernels& kernels,
             ThreadPool& pool) const;

 private:
  struct Factors {
    int64_t rank = 0;
    std::vector<float> a;  // [rank][inputs]
    std::vector<float> b;  // [rank][outputs]: B transposed, times the adapter's scale
    int64_t inputs = 0, outputs = 0;
  };
  AdapterMemory::Share share_;
  std::unordered_map<std::string, Factors> factors_;
};

}  // namespace fedglm
