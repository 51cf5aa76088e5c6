// What one probe hit costs on this host: the trap itself and the return from it, with a program that only
// counts.
#pragma once

#include <array>

#include "daemon/base/expected.h"
#include "daemon/probe/own_function.h"

namespace goheapd::probe {

class BpfObject;

struct HitCost {
  // Nanoseconds of the probed thread's CPU time per hit, by CostClass.
  std::array<double, kCostClasses> ns{};
};

// Beside the trap, an allocation that is counted takes about so many nanoseconds: the walk of its stack and the look-up of
// its count. Only a first guess, until it is known what it really takes.
inline constexpr double kCountingNs = 1000;

// Probes functions of this process and calls them, some 50 ms per class. Between two calls it works on a MiB of memory, as
// programs do between two hits: what the kernel needs for a hit is then no longer in the nearest caches, and a hit costs up
// to twice of what it does in an empty loop. Error: the probe could not be attached, or did not fire.
Expected<HitCost> measure_hit_cost(const BpfObject& object);

// Does a link that is limited to one process see the hits of all its threads? On some kernels before 6.10 it
// only sees those of the thread whose id equals the process's.
Expected<bool> pid_filter_covers_threads(const BpfObject& object);

}  // namespace goheapd::probe
