// When to sample a target that allocates too fast to be sampled all the time: in short slices, at random moments.
//
//      ┌──┐                       ┌──┐             ┌──┐
//   ───┘  └───────────────────────┘  └─────────────┘  └──────   probes are in the target
//    100 to 800 ms    until half of what is allowed of the CPU time that the target has used, or what other probes leave of
//                     it, has paid for the slices so far
//   └─ weight ─┘└────────── weight ─────────┘└── weight ───┘
//
// Between slices the probes are out, since a hit costs a trap even when nothing is recorded. Gaps end by what the target
// has run, not by what it was expected to: one that works in bursts would otherwise pay for what it does in them out of
// time in which it does nothing. They are random, so that no rhythm of the program's can hide behind them. Where gaps
// could be shorter than putting probes in and taking them out is worth, slices are longer instead, if that takes hardly
// any time of the target. A pure calculation: time is what the caller says.
#pragma once

#include <cstdint>

namespace goheapd::probe {

// Cumulative figures of one target at one moment.
struct CostSample {
  uint64_t time_ns = 0;
  uint64_t cpu_ns = 0;    // that the process has used, probes included
  uint64_t probe_ns = 0;  // that the probes took of it
};

// How many CPUs the target kept busy in between; 0 where no time passed or the figures began anew.
inline double cpus_between(const CostSample& begin, const CostSample& end) {
  if (end.time_ns <= begin.time_ns || end.cpu_ns <= begin.cpu_ns) return 0;
  return static_cast<double>(end.cpu_ns - begin.cpu_ns) / static_cast<double>(end.time_ns - begin.time_ns);
}

class SliceSchedule {
 public:
  static constexpr uint64_t kShortestSliceNs = 100'000'000;
  static constexpr uint64_t kLongestSliceNs = 800'000'000;
  // Putting probes in and taking them out keeps the caller busy for dozens of milliseconds.
  static constexpr uint64_t kShortestGapNs = 2'000'000'000;
  static constexpr uint64_t kLongestGapNs = 60'000'000'000;

  // Slices are wanted from now on. `budget` = share of the target's CPU time, `expected` = how many CPUs probes are
  // expected to take in a slice. `seed` decides the gaps.
  void start(const CostSample& now, double budget, double expected, uint64_t seed);
  // From the end of the next slice on.
  void set_budget(double budget) { budget_ = budget; }
  // A slice begins or ends when it is due.
  bool due(uint64_t now_ns) const { return now_ns >= next_ns_; }
  bool active() const { return active_; }
  // `before`: taken before the probes went in; `recording_ns`: when they began to record.
  void begin(const CostSample& before, uint64_t recording_ns);
  // To be called often. Between slices: is the last one paid? While one is active: one that was made long, and has taken
  // more than it should, is due to end.
  void look(const CostSample& now);
  // `after`: taken when they were out; `recorded_ns`: when they stopped recording.
  void end(const CostSample& after, uint64_t recorded_ns);
  // When the last one was over, or start().
  uint64_t last_end_ns() const { return after_.time_ns; }
  // When something is due, as far as is known now.
  uint64_t next_ns() const { return next_ns_; }
  // What is sampled in this slice, or was in the last one, also stands for the gap before it: by how much it counts.
  double weight() const { return weight_; }
  // How long this slice is planned to be, or the next one.
  uint64_t slice_ns() const { return slice_ns_; }
  // Share of the time since start() in which was recorded.
  double sampled_share(uint64_t now_ns) const;

 private:
  double random();
  void plan_gap();
  double paid_since(const CostSample& begin, const CostSample& now) const;
  uint64_t longer_slice(double periods) const;

  double budget_ = 0.01;
  uint64_t random_ = 0;
  bool active_ = false;
  uint64_t start_ns_ = 0;
  uint64_t next_ns_ = 0;
  uint64_t slice_ns_ = kShortestSliceNs;
  CostSample before_;
  CostSample after_;       // the last slice, or the start
  double dear_ = 0;        // CPUs that slices have lately taken at most
  double unpaid_ns_ = 0;   // of what slices took, at `after_`; < 0: of what the target may pay
  double last_cost_ = 0;   // of those that took anything
  double due_unpaid_ = 0;  // the next slice is due when no more than this is unpaid
  uint64_t earliest_ns_ = 0;
  uint64_t recording_ns_ = 0;
  uint64_t recorded_sum_ns_ = 0;
  uint64_t covered_ns_ = 0;  // slices stand for all the time up to this one
  double weight_ = 1;
};

}  // namespace goheapd::probe
