// Where a layer's weights are when the forward pass needs them: the interface between model/ and the planner and
// streamer of memory/.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/status.h"

namespace fedglm {

// One forward pass at a time.
class WeightResidency {
 public:
  virtual ~WeightResidency() = default;
  // Called before the weights of `layer` are read, in the order 0, 1, … layers - 1 of every forward pass; `layers`
  // stands for the output matrix. Waits until they are in memory and starts to read ahead what comes next. The result
  // is to be added to the address of each of the layer's tensors in the mapping (0: read them there).
  virtual absl::StatusOr<ptrdiff_t> Acquire(int64_t layer) = 0;
  // The layer's weights are not read any more in this pass.
  virtual void Release(int64_t layer) = 0;

  // Between passes. Bytes of the memory budget that are to be taken for weights which gave way and could come back; 0:
  // none.
  virtual uint64_t RoomWanted() const { return 0; }
  // Takes them from what the budget has free. ResourceExhausted if that is less.
  virtual absl::Status TakeRoom() { return absl::OkStatus(); }
  // Bytes of the budget that weights take once nothing presses on the memory. At any time.
  virtual uint64_t CalmBytes() const { return 0; }
};

}  // namespace fedglm
