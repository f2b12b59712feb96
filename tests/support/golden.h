// Where the golden data lies: $FEDGLM_GOLDEN, or shared/data beside the checkout.
#pragma once

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"

namespace fedglm {

inline std::filesystem::path GoldenFolder() {
  if (const char* folder = std::getenv("FEDGLM_GOLDEN"); folder != nullptr && *folder != '\0') return folder;
  return std::filesystem::path(FEDGLM_SOURCE_DIR) / ".." / "shared" / "data";
}

inline std::vector<float> ReadFloats(const std::filesystem::path& path) {
  const absl::StatusOr<std::string> bytes = ReadFile(path);
  if (!bytes.ok()) return {};
  std::vector<float> values(bytes->size() / sizeof(float));
  std::memcpy(values.data(), bytes->data(), values.size() * sizeof(float));
  return values;
}

// Mean squared difference over the variance of `exact`.
inline double NormalisedError(const std::vector<float>& values, const std::vector<float>& exact) {
  double mean = 0, variance = 0, error = 0;
  for (const float x : exact) mean += x;
  mean /= static_cast<double>(exact.size());
  for (size_t i = 0; i < exact.size(); ++i) {
    variance += (exact[i] - mean) * (exact[i] - mean);
    error += (static_cast<double>(values[i]) - exact[i]) * (static_cast<double>(values[i]) - exact[i]);
  }
  return error / variance;
}

}  // namespace fedglm
