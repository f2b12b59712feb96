// Sees what the forward pass multiplies weights with: calibration measures there which columns of a matrix matter.
#pragma once

#include <cstdint>
#include <string>

namespace fedglm {

// Called by Transformer from the thread that runs Forward or Logits, before each multiplication. An observer is used by
// one forward pass at a time.
class ActivationObserver {
 public:
  virtual ~ActivationObserver() = default;
  // gguf_name: "blk.0.attn_q.weight". x: [rows][columns], the inputs of that layer, valid during the call.
  virtual void Observe(const std::string& gguf_name, const float* x, int64_t rows, int64_t columns) = 0;
};

}  // namespace fedglm
