#include "proto/site_name.h"

#include <algorithm>

namespace fedglm {

bool IsSiteName(const std::string& name) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
  };
  return !name.empty() && name.size() <= 63 && std::all_of(name.begin(), name.end(), plain);
}

}  // namespace fedglm
