// Memory that a thread keeps for its next call. Included by kernel files under their own compile flags: no std::vector,
// which has functions of external linkage, and of all copies in a program the linker may keep this file's, with
// instructions that most CPUs lack. Internal linkage.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace fedglm {
namespace {

template <typename Number>
class ThreadBuffer {
 public:
  ThreadBuffer() = default;
  ~ThreadBuffer() { delete[] numbers_; }
  ThreadBuffer(const ThreadBuffer&) = delete;
  ThreadBuffer& operator=(const ThreadBuffer&) = delete;

  // Of any value.
  Number* Room(int64_t count) {
    if (count > count_) {
      delete[] std::exchange(numbers_, nullptr);
      count_ = 0;
      numbers_ = new Number[static_cast<size_t>(count)];
      count_ = count;
    }
    return numbers_;
  }
  Number* Zeros(int64_t count) {
    std::fill_n(Room(count), count, Number{});
    return numbers_;
  }

 private:
  Number* numbers_ = nullptr;
  int64_t count_ = 0;
};

}  // namespace
}  // namespace fedglm
