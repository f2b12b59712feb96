#include "aggregator/rules/evaluation.h"

#include "aggregator/updates/bounded_updates.h"
#include "aggregator/updates/exact_mean.h"

namespace fedglm {
namespace {

constexpr double kHighestLoss = 1000;

}  // namespace

std::string FaultOf(const SiteLoss& report) {
  if (!(report.loss >= 0 && report.loss <= kHighestLoss)) return "a loss must be a number from 0 to 1000";
  if (report.tokens < 1 || report.tokens > kLargestWeight) return "a loss must be of 1 to 2^31 tokens";
  return "";
}

double MeanLoss(const std::vector<SiteLoss>& reports, double weight_share) {
  if (reports.empty()) return 0;
  std::vector<int64_t> tokens;
  for (const SiteLoss& report : reports) tokens.push_back(report.tokens);
  const std::vector<int64_t> weights = CapWeights(tokens, weight_share);
  double sum = 0, total = 0;
  for (size_t i = 0; i < reports.size(); ++i) {
    sum += static_cast<double>(weights[i]) * reports[i].loss;
    total += static_cast<double>(weights[i]);
  }
  return sum / total;
}

}  // namespace fedglm
