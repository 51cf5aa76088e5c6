#include "daemon/probe/slices.h"

#include <algorithm>

namespace goheapd::probe {
namespace {

// What may vary between two slices is the other half.
constexpr double kShareOfBudget = 0.5;

// https://prng.di.unimi.it/splitmix64.c (the constants)
uint64_t next_random(uint64_t& state) {
  state += 0x9e3779b97f4a7c15;
  uint64_t value = state;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

}  // namespace

void SliceSchedule::start(uint64_t now_ns, double budget, double expected, uint64_t seed) {
  budget_ = budget;
  random_ = seed;
  active_ = false;
  start_ns_ = covered_ns_ = now_ns;
  weight_ = 1;
  recorded_sum_ns_ = 0;
  plan(now_ns, static_cast<double>(kSliceNs) * expected / (kShareOfBudget * budget));
}

// Half to one and a half of the mean.
void SliceSchedule::plan(uint64_t from_ns, double mean_gap_ns) {
  const double mean =
      std::clamp(mean_gap_ns, static_cast<double>(kShortestGapNs), static_cast<double>(kLongestGapNs));
  const double uniform = static_cast<double>(next_random(random_) >> 11) * 0x1p-53;
  next_ns_ = from_ns + static_cast<uint64_t>(mean * (0.5 + uniform));
}

void SliceSchedule::begin(const CostSample& before, uint64_t recording_ns) {
  active_ = true;
  before_ = before;
  recording_ns_ = recording_ns;
  next_ns_ = recording_ns + kSliceNs;
  const uint64_t gap = recording_ns - std::min(recording_ns, covered_ns_);
  weight_ = static_cast<double>(gap + kSliceNs) / static_cast<double>(kSliceNs);
}

void SliceSchedule::end(const CostSample& after, uint64_t recorded_ns) {
  if (!active_) return;
  active_ = false;
  covered_ns_ = recorded_ns;
  recorded_sum_ns_ += recorded_ns - std::min(recorded_ns, recording_ns_);
  const auto lasted = static_cast<double>(after.time_ns - std::min(after.time_ns, before_.time_ns));
  const auto cpu = static_cast<double>(after.cpu_ns - std::min(after.cpu_ns, before_.cpu_ns));
  const auto cost = static_cast<double>(after.probe_ns - std::min(after.probe_ns, before_.probe_ns));
  // The target goes on to use as much CPU time: cost / (share of the budget) nanoseconds of it must pass, this slice's
  // among them. One that has used none may run at any moment again.
  const double speed = lasted > 0 && cpu > 0 ? cpu / lasted : 1;
  plan(after.time_ns, cost / (kShareOfBudget * budget_) / speed - lasted);
}

double SliceSchedule::sampled_share(uint64_t now_ns) const {
  const uint64_t running = active_ ? now_ns - std::min(now_ns, recording_ns_) : 0;
  return now_ns <= start_ns_
             ? 0
             : static_cast<double>(recorded_sum_ns_ + running) / static_cast<double>(now_ns - start_ns_);
}

}  // namespace goheapd::probe
