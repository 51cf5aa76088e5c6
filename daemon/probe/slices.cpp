#include "daemon/probe/slices.h"

#include <algorithm>
#include <limits>

#include "daemon/probe/allowance.h"

namespace goheapd::probe {
namespace {

// What may vary between two slices is the other half.
constexpr double kShareOfAllowance = 0.5;
// What the probes that stay in take belongs to that half, and where they take more, they leave slices less.
constexpr double kShareOfAll = 0.75;
// Of slices that are longer than the shortest: so much of the target's CPU time in nanoseconds ...
constexpr double kLongSliceCost = 2e6;
// ... and at so many times of that they end, since what they were planned by has changed.
constexpr double kCutAt = 2;
// A program that works in bursts is not forgotten to be dear by a slice in which it rests.
constexpr double kDearForgotten = 0.7;

// https://prng.di.unimi.it/splitmix64.c (the constants)
uint64_t next_random(uint64_t& state) {
  state += 0x9e3779b97f4a7c15;
  uint64_t value = state;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

// The caller looks in a rhythm, which slices should not follow.
constexpr double kLooseNs = 2.0 * SliceSchedule::kShortestSliceNs;
constexpr double kNever = std::numeric_limits<double>::infinity();

}  // namespace

void SliceSchedule::start(const CostSample& now, double budget, double expected, uint64_t seed) {
  budget_ = budget;
  random_ = seed;
  active_ = false;
  start_ns_ = covered_ns_ = now.time_ns;
  slice_ns_ = kShortestSliceNs;
  after_ = now;
  dear_ = expected;
  unpaid_ns_ = last_cost_ = expected * static_cast<double>(slice_ns_);
  weight_ = 1;
  recorded_sum_ns_ = 0;
  plan_gap();
}

// Half to one and a half of what pays for the last slice.
void SliceSchedule::plan_gap() {
  const double some = 0.5 + random();
  due_unpaid_ = unpaid_ns_ * (1 - some);
  earliest_ns_ = after_.time_ns + static_cast<uint64_t>(some * kShortestGapNs);
  next_ns_ = after_.time_ns + static_cast<uint64_t>(some * kLongestGapNs);
}

// At least 0, below 1.
double SliceSchedule::random() { return static_cast<double>(next_random(random_) >> 11) * 0x1p-53; }

// Nanoseconds of slices that the target may pay for what it has run in between; no slice was active.
double SliceSchedule::paid_since(const CostSample& begin, const CostSample& now) const {
  const double cpus = cpus_between(begin, now);
  if (cpus <= 0) return 0;
  const double allowed = allowed_share(budget_, cpus) * static_cast<double>(now.cpu_ns - begin.cpu_ns);
  const auto others = static_cast<double>(now.probe_ns - std::min(now.probe_ns, begin.probe_ns));
  return std::clamp(kShareOfAll * allowed - others, 0.0, kShareOfAllowance * allowed);
}

// One slice in `periods` times its length is what can be afforded.
uint64_t SliceSchedule::longer_slice(double periods) const {
  auto longest = static_cast<double>(std::min(2 * slice_ns_, kLongestSliceNs));
  if (periods > 1) longest = std::min(longest, static_cast<double>(kShortestGapNs) / (periods - 1));
  if (dear_ > 0) longest = std::min(longest, kLongSliceCost / dear_);
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
  if (!active_) {
    if (unpaid_ns_ - paid_since(after_, now) > due_unpaid_) return;
    // The first look that finds it paid decides when.
    due_unpaid_ = -kNever;
    next_ns_ =
        std::min(next_ns_, std::max(earliest_ns_, now.time_ns + static_cast<uint64_t>(kLooseNs * random())));
    return;
  }
  if (now.time_ns < recording_ns_ + kShortestSliceNs || now.probe_ns < before_.probe_ns) return;
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
  if (cost > 0) last_cost_ = cost;
  // Nanoseconds per nanosecond; the target goes on so in the slice.
  const uint64_t gap = before_.time_ns - std::min(before_.time_ns, after_.time_ns);
  const double pays = gap == 0 ? 0 : paid_since(after_, before_) / static_cast<double>(gap);
  const double paid = pays * static_cast<double>(after.time_ns - std::min(after.time_ns, after_.time_ns));
  // What a target that was let alone did not pay it does not pay later, all at once.
  unpaid_ns_ = std::max(unpaid_ns_ - paid, -last_cost_ / 2) + cost;
  if (lasted > 0) {
    dear_ = std::max(kDearForgotten * dear_, cost / lasted);
    slice_ns_ = longer_slice(pays > 0 ? cost / pays / lasted : cost > 0 ? kNever : 1);
  }
  after_ = after;
  plan_gap();
}

double SliceSchedule::sampled_share(uint64_t now_ns) const {
  const uint64_t running = active_ ? now_ns - std::min(now_ns, recording_ns_) : 0;
  return now_ns <= start_ns_
             ? 0
             : static_cast<double>(recorded_sum_ns_ + running) / static_cast<double>(now_ns - start_ns_);
}

}  // namespace goheapd::probe
