#include "aggregator/updates/distances.h"

#include <algorithm>
#include <string>

#include "aggregator/updates/trained_tensors.h"

namespace fedglm {
namespace {

constexpr size_t kBlock = 2048;  // values of every update that lie in the cache together

double SquaredDistance(const float* a, const float* b, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; ++i) {
    const double difference = static_cast<double>(a[i]) - b[i];
    sum += difference * difference;
  }
  return sum;
}

}  // namespace

absl::StatusOr<std::vector<std::vector<double>>> SquaredDistances(const Adapter& global, UpdateForm form,
                                                                  const RoundUpdates& updates) {
  const size_t count = updates.size();
  std::vector<std::vector<double>> distances(count, std::vector<double>(count));
  const auto add = [&](const std::string& name, const Matrix& matrix) -> absl::Status {
    const size_t values = matrix.values.size();
    FEDGLM_ASSIGN_OR_RETURN(const auto all, ReadFromAll(updates, name, values));
    for (size_t begin = 0; begin < values; begin += kBlock) {
      const size_t block = std::min(kBlock, values - begin);
      for (size_t i = 0; i < count; ++i) {
        for (size_t j = 0; j < i; ++j) {
          distances[i][j] += SquaredDistance(all[i].data() + begin, all[j].data() + begin, block);
        }
      }
    }
    return absl::OkStatus();
  };
  FEDGLM_RETURN_IF_ERROR(VisitTrained(global, form, add));
  for (size_t i = 0; i < count; ++i) {
    for (size_t j = 0; j < i; ++j) distances[j][i] = distances[i][j];
  }
  return distances;
}

}  // namespace fedglm
