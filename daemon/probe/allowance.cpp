#include "daemon/probe/allowance.h"

#include <algorithm>

namespace goheapd::probe {
namespace {

constexpr double kMostBudgets = 5;
// So that nobody pays five percent over any ten seconds.
constexpr double kMostShare = 0.04;

}  // namespace

double allowed_share(double budget, double cpus) {
  const double of_small = std::min(kMostBudgets * budget, kMostShare);
  // Without a division: a target that has not run at all is a small one.
  return std::max(budget, of_small * cpus <= kUnfelt ? of_small : kUnfelt / cpus);
}

}  // namespace goheapd::probe
