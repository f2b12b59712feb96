// Numbers that a step needs and the next one needs again: memory that grows and is kept, so that no step pays for fresh
// pages.
#pragma once

#include <cstdint>
#include <memory>
#include <new>

namespace fedglm {

class FloatBuffer {
 public:
  // At least `floats` of any value, aligned to a cache line. What was there before is lost if it has to grow.
  float* Room(int64_t floats) {
    if (floats > size_) {
      data_.reset();  // before the new one: never both
      size_ = 0;
      data_.reset(static_cast<float*>(::operator new(static_cast<size_t>(floats) * sizeof(float), kAlignment)));
      size_ = floats;
    }
    return data_.get();
  }
  float* data() { return data_.get(); }
  const float* data() const { return data_.get(); }

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Delete {
    void operator()(float* data) const { ::operator delete(data, kAlignment); }
  };
  std::unique_ptr<float, Delete> data_;
  int64_t size_ = 0;
};

}  // namespace fedglm
