#pragma once

#include <cstdint>

namespace goheapd::profile {

// The factor by which sampled objects of `object_size` bytes stand for all: 1 / (1 - exp(-size/rate)), the
// inverse of the probability that a Poisson process with mean distance `rate` bytes hits an object of that
// size. Same formula as runtime/pprof's scaleHeapSample
// (https://github.com/golang/go/blob/go1.24.4/src/runtime/pprof/protomem.go#L96). 1 if rate <= 1 or size is
// 0.
double unsampling_factor(double object_size, uint64_t rate);

struct Scaled {
  int64_t objects = 0;
  int64_t bytes = 0;
};

// What pprof writes for `objects` sampled objects that take `bytes` in all. Truncates towards zero as Go
// does, so that our numbers equal the program's own to the unit. Zero stays zero; differences may be
// negative.
Scaled unsample(int64_t objects, int64_t bytes, uint64_t rate);

}  // namespace goheapd::profile
