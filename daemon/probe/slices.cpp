#include "daemon/probe/slices.h"

#include <algorithm>

#include "daemon/probe/allowance.h"

namespace goheapd::probe {
namespace {

// What may vary between two slices is the other half.
constexpr double kShareOfAllowance = 0.5;
// Of slices that are longer than the shortest: so much of the target's CPU time in nanoseconds ...
constexpr double kLongSliceCost = 2e6;
// ... and at so many times of that they end, since what they were planned by has changed.
constexpr double kCutAt = 2;

// https://prng.di.unimi.it/splitmix64.c (the constants)
uint64_t next_random(uint64_t& state) {
  state += 0x9e3779b97f4a7c15;
  uint64_t value = state;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

double speed_between(const CostSample& begin, const CostSample& end) {
  return end.time_ns > begin.time_ns && end.cpu_ns > begin.cpu_ns
             ? static_cast<double>(end.cpu_ns - begin.cpu_ns) /
                   static_cast<double>(end.time_ns - begin.time_ns)
             : 0;
}

}  // namespace

void SliceSchedule::start(uint64_t now_ns, double budget, double expected, uint64_t seed) {
  budget_ = budget;
  random_ = seed;
  active_ = false;
  start_ns_ = covered_ns_ = now_ns;
  slice_ns_ = kShortestSliceNs;
  after_ = {};
  weight_ = 1;
  recorded_sum_ns_ = 0;
  plan(now_ns, static_cast<double>(slice_ns_) * expected / (kShareOfAllowance * budget));
}

// Half to one and a half of the mean.
void SliceSchedule::plan(uint64_t from_ns, double mean_gap_ns) {
  const double mean =
      std::clamp(mean_gap_ns, static_cast<double>(kShortestGapNs), static_cast<double>(kLongestGapNs));
  const double uniform = static_cast<double>(next_random(random_) >> 11) * 0x1p-53;
  next_ns_ = from_ns + static_cast<uint64_t>(mean * (0.5 + uniform));
}

// One slice in `periods` times its length is what can be afforded, where it takes `cost_rate` CPUs.
uint64_t SliceSchedule::longer_slice(double cost_rate, double periods) const {
  auto longest = static_cast<double>(std::min(2 * slice_ns_, kLongestSliceNs));
  if (periods > 1) longest = std::min(longest, static_cast<double>(kShortestGapNs) / (periods - 1));
  if (cost_rate > 0) longest = std::min(longest, kLongSliceCost / cost_rate);
  return std::max(kShortestSliceNs, static_cast<uint64_t>(longest));
}

void SliceSchedule::begin(const CostSample& before, uint64_t recording_ns) {
  active_ = true;
  before_ = before;
  recording_ns_ = recording_ns;
  next_ns_ = recording_ns + slice_ns_;
  const uint64_t gap = recording_ns - std::min(recording_ns, covered_ns_);
  weight_ = static_cast<double>(gap + slice_ns_) / static_cast<double>(slice_ns_);
}

void SliceSchedule::look(const CostSample& now) {
  if (!active_ || now.time_ns < recording_ns_ + kShortestSliceNs || now.probe_ns < before_.probe_ns) return;
  if (static_cast<double>(now.probe_ns - before_.probe_ns) > kCutAt * kLongSliceCost)
    next_ns_ = std::min(next_ns_, now.time_ns);
}

void SliceSchedule::end(const CostSample& after, uint64_t recorded_ns) {
  if (!active_) return;
  active_ = false;
  const uint64_t recorded = recorded_ns - std::min(recorded_ns, recording_ns_);
  // One that was cut short stood for less than all the time before it; the next one has to stand for the rest.
  const double missing = static_cast<double>(slice_ns_) - static_cast<double>(recorded);
  covered_ns_ = static_cast<uint64_t>(static_cast<int64_t>(recorded_ns) -
                                      static_cast<int64_t>((weight_ - 1) * missing));
  recorded_sum_ns_ += recorded;
  const auto lasted = static_cast<double>(after.time_ns - std::min(after.time_ns, before_.time_ns));
  const auto cost = static_cast<double>(after.probe_ns - std::min(after.probe_ns, before_.probe_ns));
  const double speed_now = speed_between(before_, after);
  // The target goes on to use as much CPU time: cost / share nanoseconds of it must pass, this slice's among them. One
  // that has used none may run at any moment again.
  const double speed = speed_now > 0 ? speed_now : 1;
  // Small is what has run little both in the slice and before it.
  const double before = after_.time_ns == 0 ? 0 : speed_between(after_, before_);
  const double share = kShareOfAllowance * allowed_share(budget_, std::max(speed_now, before));
  after_ = after;
  const double time = cost / share / speed;
  plan(after.time_ns, time - lasted);
  if (lasted > 0) slice_ns_ = longer_slice(cost / lasted, time / lasted);
}

double SliceSchedule::sampled_share(uint64_t now_ns) const {
  const uint64_t running = active_ ? now_ns - std::min(now_ns, recording_ns_) : 0;
  return now_ns <= start_ns_
             ? 0
             : static_cast<double>(recorded_sum_ns_ + running) / static_cast<double>(now_ns - start_ns_);
}

}  // namespace goheapd::probe
