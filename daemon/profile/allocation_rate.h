// How fast a program allocates, from counters that samples move: over as short a time as says something.
//
//   marks   ●────●────●────●────●────●     time
//           └── oldest that is kept  └── now          bytes between them / time between them
//
// With few samples a short time says 0 or a multiple of the truth, so a program that is sampled seldom is looked at over a
// longer one: 64 samples are right within 12 % (one standard deviation, 1/sqrt(64)).
#pragma once

#include <cstdint>
#include <deque>

namespace goheapd::profile {

class AllocationRate {
 public:
  static constexpr uint64_t kShortest = 2'000'000'000;  // nanoseconds
  static constexpr uint64_t kLongest = 60'000'000'000;
  static constexpr uint64_t kEnoughSamples = 64;

  // Cumulative `bytes` and `samples` as of `time_ns`. What is less than kShortest younger than the last is left out. Bytes
  // that fall begin anew.
  void observe(uint64_t time_ns, double bytes, uint64_t samples);
  // 0 until two times are known.
  double bytes_per_second() const;

 private:
  struct Mark {
    uint64_t time_ns = 0;
    double bytes = 0;
    uint64_t samples = 0;
  };
  std::deque<Mark> marks_;  // oldest first
};

}  // namespace goheapd::profile
