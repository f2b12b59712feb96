// Memory for the bodies of requests, which is in no account of the budget: without a limit of their own, large ones on
// many connections at once would take all that the kernel allows.
#pragma once

#include <atomic>
#include <cstddef>
#include <utility>

#include "inference/api/answer_options.h"

namespace fedglm {

// Of all requests that are being read or answered. As JSON they take several times as much (kMaxJsonBytes at most,
// each).
struct BodyMemory {
  std::atomic<size_t> large_bytes = 0;
};

// A request's part of it, given back at the end.
class BodyReservation {
 public:
  static constexpr size_t kLarge = 64 << 10;               // smaller ones are as good as none
  static constexpr size_t kMostLarge = 2 * kMaxBodyBytes;  // a lone one always fits

  explicit BodyReservation(BodyMemory& memory) : memory_(memory) {}
  BodyReservation(const BodyReservation&) = delete;
  BodyReservation& operator=(const BodyReservation&) = delete;
  ~BodyReservation() { Release(); }

  // As bytes come, not as they are announced: who sends slowly keeps nobody else out. False if there is no room now.
  bool GrowTo(size_t bytes) {
    if (bytes < kLarge || bytes <= bytes_) return true;
    const size_t more = bytes - bytes_;
    if (memory_.large_bytes.fetch_add(more) + more > kMostLarge) {
      memory_.large_bytes -= more;
      return false;
    }
    bytes_ = bytes;
    return true;
  }

  void Release() { memory_.large_bytes -= std::exchange(bytes_, 0); }

 private:
  BodyMemory& memory_;
  size_t bytes_ = 0;
};

}  // namespace fedglm
