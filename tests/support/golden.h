// Where the golden data lies: $FEDGLM_GOLDEN, or shared/data beside the checkout, or the copy of the most needed part
// in tests/data. A test that finds its file in none of them is skipped with GOLDEN_OR_SKIP, and ./check lists it.
#pragma once

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "tests/support/source_tree.h"

namespace fedglm {

// The path of a golden file; where it would be if it is not there.
inline std::filesystem::path GoldenPath(const std::string& relative) {
  std::vector<std::filesystem::path> folders;
  if (const char* folder = std::getenv("FEDGLM_GOLDEN"); folder != nullptr && *folder != '\0')
    folders.emplace_back(folder);
  folders.push_back(SourceFolder() / ".." / "shared" / "data");
  folders.push_back(SourceFolder() / "tests" / "data");
  for (const std::filesystem::path& folder : folders) {
    if (std::filesystem::exists(folder / relative)) return folder / relative;
  }
  return folders.back() / relative;
}

#define GOLDEN_OR_SKIP(variable, relative)                               \
  const std::filesystem::path variable = ::fedglm::GoldenPath(relative); \
  if (!std::filesystem::exists(variable)) GTEST_SKIP() << "golden file " << (relative) << " is not here"

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
