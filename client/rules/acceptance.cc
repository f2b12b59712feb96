#include "client/rules/acceptance.h"

#include <cmath>

namespace fedglm {
namespace {

constexpr double kSlack = 0.01;  // nats: of a loss near 0 five per cent are nothing

}  // namespace

bool Accepts(const MeasuredLoss& candidate, const MeasuredLoss& installed, double max_regression) {
  if (!std::isfinite(candidate.loss)) return false;
  if (!std::isfinite(installed.loss)) return true;
  return candidate.loss <= installed.loss * (1 + max_regression) + kSlack;
}

}  // namespace fedglm
