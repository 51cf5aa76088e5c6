#include "daemon/alias_windows.h"

#include <algorithm>

namespace goheapd {
namespace {

constexpr uint64_t kMillisecond = 1'000'000;
constexpr uint64_t kSecond = 1000 * kMillisecond;
constexpr uint64_t kLookEvery = kSecond / 2;
// Putting probes in and taking them out.
constexpr double kChangingProbes = 40.0 * kMillisecond;
// So many objects say enough, at once.
constexpr double kWantedObjects = 4000;
constexpr double kShortest = 5.0 * kMillisecond;
constexpr double kLongest = 200.0 * kMillisecond;
constexpr double kBudgetTime = 10.0 * kSecond;
constexpr double kShareOfBudget = 0.25;
constexpr uint64_t kUnmeasuredRest = kSecond;
constexpr unsigned kUnmeasuredTries = 4;
constexpr uint64_t kShortestRest = 10 * kSecond;
constexpr uint64_t kLongestRest = 160 * kSecond;
constexpr uint64_t kRestAfterFailure = 60 * kSecond;
// A debt that a program which hardly runs could not pay back sooner is forgotten then: nobody can feel it.
constexpr double kLongestPayback = 600.0 * kSecond;

}  // namespace

void AliasWindows::not_wanted(uint64_t now_ns) {
  last_ = {};
  next_look_ns_ = now_ns + kLookEvery;
}

std::optional<std::chrono::nanoseconds> AliasWindows::look(uint64_t now_ns, uint64_t cpu_ns,
                                                           uint64_t allocations) {
  const Figures before = last_;
  last_ = {now_ns, cpu_ns, allocations};
  next_look_ns_ = now_ns + kLookEvery;
  if (before.time_ns == 0 || now_ns <= before.time_ns || cpu_ns <= before.cpu_ns ||
      allocations <= before.allocations)
    return std::nullopt;
  const auto time = static_cast<double>(now_ns - before.time_ns);
  cpu_rate_ = static_cast<double>(cpu_ns - before.cpu_ns) / time;
  if (now_ns < next_window_ns_) return std::nullopt;
  const double rate = static_cast<double>(allocations - before.allocations) / time;
  // While it is counted the program is slower, so it takes fewer objects than it would.
  const double counting = std::clamp(kWantedObjects / rate, kShortest, kLongest);
  const double all = counting + kChangingProbes;
  // It cannot spend more than the time that it runs.
  const double expected =
      std::min(rate * (all * trap_ns_ + counting * counting_ns_), all * std::max(1.0, cpu_rate_));
  too_dear_ = expected > budget_ * kBudgetTime * cpu_rate_;
  if (too_dear_) return std::nullopt;
  return std::chrono::nanoseconds(static_cast<int64_t>(counting));
}

void AliasWindows::closed(uint64_t now_ns, uint64_t cost_ns, bool agrees, bool is_measured) {
  const uint64_t unpaid = unpaid_ns(now_ns);
  rest_ns_ = agrees ? std::clamp(2 * rest_ns_, kShortestRest, kLongestRest) : kShortestRest;
  const double income = kShareOfBudget * budget_ * cpu_rate_;
  const double payback = income > 0
                             ? std::min(static_cast<double>(unpaid + cost_ns) / income, kLongestPayback)
                             : kLongestPayback;
  debt_ns_ = unpaid + cost_ns;
  debt_begin_ns_ = now_ns;
  debt_end_ns_ = now_ns + static_cast<uint64_t>(payback);
  uint64_t rest = rest_ns_;
  if (is_measured) tries_ = 0;
  if (!is_measured && tries_ < kUnmeasuredTries) rest = kUnmeasuredRest << tries_++;
  next_window_ns_ = std::max(debt_end_ns_, now_ns + rest);
  last_ = {};  // while it was counted, the program was not itself
  next_look_ns_ = std::max(now_ns, next_window_ns_ - kLookEvery);
}

void AliasWindows::failed(uint64_t now_ns) {
  next_window_ns_ = now_ns + kRestAfterFailure;
  next_look_ns_ = next_window_ns_ - kLookEvery;
}

uint64_t AliasWindows::unpaid_ns(uint64_t now_ns) const {
  if (now_ns >= debt_end_ns_) return 0;
  const double left =
      static_cast<double>(debt_end_ns_ - now_ns) / static_cast<double>(debt_end_ns_ - debt_begin_ns_);
  return static_cast<uint64_t>(static_cast<double>(debt_ns_) * std::min(1.0, left));
}

}  // namespace goheapd
