// Which runs of a span class are sampled: one Poisson process over all the bytes that runs plan to hand out. Plain
// integer arithmetic, because it runs in the kernel; the unit tests run the same code.
//
//      mean           exponential distances, drawn one at a time
//   ├──────────●─────────────────────────●─────●───────────▶ bytes
//   │ run │ run│ run │ run │ run │ run │ run │ run │
//          sampled                  sampled, then a new distance is drawn from the end of the run
//
// The countdown is kept in units of the mean, so that a mean that changes scales what is left of it: an exponential
// distribution has no memory, neither of time nor of the rate that was in force.
#pragma once

#include <linux/types.h>

#ifdef __cplusplus
namespace goheapd::wire {
#endif

enum {
  // Fixed point: so many binary digits behind the point.
  kCountdownDigits = 40,
  kLogDigits = 24,
  // Beyond so many means a run is sampled with probability 1 - 1e-14: always.
  kCertainMeans = 32,
  // A burst: so many samples on one CPU within so short a time double the mean, as many again double it once more.
  kBurstSamples = 1024,
  kBurstNs = 100000000,
  kMostDoublings = 8,
};

// A program that allocates seldom is sampled densely. Should it begin to allocate at full speed, the daemon takes a tenth of
// a second to notice; until then what stack walks may cost is bounded here. The mean after so many samples of a burst:
static inline __attribute__((always_inline)) __u64 mean_in_burst(__u64 mean, __u64 burst_distance,
                                                                 __u64 burst_samples) {
  if (mean >= burst_distance) return mean;
  __u64 doublings = burst_samples / kBurstSamples;
  if (doublings > kMostDoublings) doublings = kMostDoublings;
  mean <<= doublings;
  return mean < burst_distance ? mean : burst_distance;
}

// -ln(u) for u uniform in (0, 1), made of 32 random bits: an exponential distance with mean 1 << kCountdownDigits.
static inline __attribute__((always_inline)) __u64 exponential_distance(__u32 random) {
  // u = n / 2^33 with n odd, so neither 0 nor 1. Its binary logarithm: the place of n's first bit, then a digit per
  // squaring of what is left, a number in [1, 2).
  __u64 n = ((__u64)random << 1) | 1;
  __u32 whole = 0;
  __u64 rest = n;
  for (__u32 step = 32; step != 0; step >>= 1) {
    if (rest >> step) {
      rest >>= step;
      whole += step;
    }
  }
  __u64 mantissa = whole > 31 ? n >> (whole - 31) : n << (31 - whole);
  __u64 logarithm = whole;
  for (__u32 digit = 0; digit < kLogDigits; digit++) {
    mantissa = (mantissa * mantissa) >> 31;
    logarithm <<= 1;
    if (mantissa >> 32) {
      mantissa >>= 1;
      logarithm |= 1;
    }
  }
  __u64 negative = ((__u64)33 << kLogDigits) - logarithm;
  // ln 2 with 32 digits: 24 + 32 digits, of which 40 are kept.
  return (negative * 2977044472ULL) >> (kLogDigits + 32 - kCountdownDigits);
}

// Passes over a run that plans `bytes`. True: a point lies in it, and the countdown must be set to a new
// exponential_distance().
static inline __attribute__((always_inline)) int run_is_sampled(__u64* countdown, __u64 bytes, __u64 mean) {
  if (mean == 0 || bytes / kCertainMeans >= mean) return 1;
  __u64 spent = bytes * ((1ULL << kCountdownDigits) / mean);
  if (spent > *countdown) return 1;
  *countdown -= spent;
  return 0;
}

#ifdef __cplusplus
}  // namespace goheapd::wire
#endif
