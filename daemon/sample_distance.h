// How many bytes there are to a sample of source spans while a target is sampled, all the time or in slices. For one
// target; a pure calculation on what others bring.
//
//   credit   full ───────── 1/2 ───────── 1/4 ───────── 1/8 ───────── 0      for stack walks, in CPU time of the target
//   a sample in    8 KiB     │    16 KiB   │    32 KiB   │   64 KiB   │ 128 KiB
//                  nearly every run that is opened
//
// The trap is paid for each run whether it is sampled or not, so a program that allocates slowly may as well be sampled
// densely: of a heap of 40 MB there are 300 samples at 128 KiB, so a place with 5 % of it is known to within 25 %; at 8 KiB
// there are 5000, and it is 6 %. What bounds it is the time that stack walks take of the program, of which a part of the
// budget is credited all the time, up to a limit that also is there at the beginning; and that each sampled object has to
// be looked up after each garbage collection before the next one ends. Each sample carries the distance at which it was
// taken, so values stay right. A burst between two looks is bounded by the kernel (bpf/run_sampler.h).
//
// In slices the traps are what costs, and samples come at little more. So it is as dense there, as long as a slice has no
// more of them than can be looked up while it lasts; the first slices, of a program that nothing is known of, are sparse.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace goheapd {

class SampleDistance {
 public:
  static constexpr uint64_t kDensest = 8u << 10;
  static constexpr uint64_t kSparsest = 128u << 10;
  // What may be taken at once, in nanoseconds of CPU time: some 8000 samples.
  static constexpr double kMostCredit = 20e6;

  // Cumulative figures of the target at one moment.
  struct Figures {
    uint64_t time_ns = 0;
    uint64_t cpu_ns = 0;        // that the process has used
    uint64_t samples = 0;       // taken so far
    size_t live_samples = 0;    // objects that are looked up after each garbage collection
    uint64_t cycle_gap_ns = 0;  // between garbage collections of late; 0 = unknown
  };

  uint64_t bytes() const { return bytes_; }
  uint64_t bytes_in_slices() const { return std::max(bytes_, in_slices_); }
  // Slices are taken from now on.
  void start_slices() { in_slices_ = kSparsest; }
  // One has taken so many samples.
  void end_slice(uint64_t samples);
  // Time that samples took and that is not credited yet: for the governor it has not been spent, else a burst of samples
  // would look like a breach of the budget. It is told of it bit by bit, as it is credited.
  uint64_t unpaid_ns() const { return static_cast<uint64_t>(kMostCredit - credit_); }
  // `budget`: share of the target's CPU time for all probes. True: bytes() has changed.
  bool observe(const Figures& now, double budget);

 private:
  void adapt_to_cycles(const Figures& now);

  uint64_t bytes_ = kDensest;
  double credit_ = kMostCredit;
  uint64_t least_ = kDensest;  // so that cycles are not missed
  uint64_t least_changed_ns_ = 0;
  uint64_t in_slices_ = kSparsest;
  Figures last_;
};

}  // namespace goheapd
