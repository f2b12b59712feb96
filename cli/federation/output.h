// How the commands of `fedglm federation` print.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

#include "base/clock.h"
#include "base/json.h"

namespace fedglm::cli {

inline std::string Time(int64_t unix_ms) {
  if (unix_ms == 0) return "-";
  return FormatUtc(std::chrono::system_clock::time_point(std::chrono::milliseconds(unix_ms)));
}

template <typename Names>
std::string Joined(const Names& names) {
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  return all.empty() ? "-" : all;
}

inline std::string Short(const std::string& digest) { return digest.empty() ? "-" : digest.substr(0, 12); }

inline void Print(const Json& json) { std::printf("%s\n", DumpJson(json).c_str()); }

}  // namespace fedglm::cli
