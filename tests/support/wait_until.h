// Waiting for what another thread or process does: for the thing itself, never for a time in which it should have
// happened.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <thread>

namespace fedglm {

// False if `condition` is not true within `limit`, which is meant for a machine that does much else. Asks several times
// a millisecond at first, then less often.
inline bool WaitUntil(const std::function<bool()>& condition,
                      std::chrono::milliseconds limit = std::chrono::seconds(60)) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  auto pause = std::chrono::microseconds(200);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::microseconds(5000));
  }
  return true;
}

}  // namespace fedglm
