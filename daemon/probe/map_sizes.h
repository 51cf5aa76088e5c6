// How large the maps in the kernel may be.
#pragma once

#include <cstdint>

namespace goheapd::probe {

struct BpfSizes {
  // Bytes of the event ring: rate x event size x the longest time that its reader may sleep. 16 MiB hold a
  // second of sampled events of any program, and a burst of 16,000 new deep stacks in exact mode.
  uint32_t ring_bytes = 16u << 20;
  // Waiting bytes at which the reader is woken before its time.
  uint32_t wake_bytes = 1u << 20;
  uint32_t targets = 1024;
  // Distinct {stack, type, size class} of all targets in exact mode, and distinct stacks. Memory follows use, except on
  // kernels before 6.1, which allocate up front: there they are capped.
  uint32_t exact_entries = 128u << 10;
  uint32_t stacks = 128u << 10;
  // Source spans: Ps of all its targets, and sampled runs that are under way: some of the 136 of each P.
  uint32_t span_caches = 16u << 10;
  uint32_t open_runs = 128u << 10;
};

// What a map may take of whose entries each CPU has its own copy: such maps grow with the machine, the memory that the
// daemon is allowed does not.
inline constexpr uint64_t kMostPerCpuMapBytes = 96u << 20;
// Below these it would be of no use. They are what fits on a machine of 1,500 CPUs.
inline constexpr uint32_t kFewestExactEntries = 2048;
inline constexpr uint32_t kFewestTargets = 256;

// `wanted` with fewer entries in such maps, where they would take more. CPUs count that the kernel thinks possible, be they
// there or not, since it allocates for all of them.
BpfSizes fit_to_cpus(BpfSizes wanted, unsigned possible_cpus);

}  // namespace goheapd::probe
