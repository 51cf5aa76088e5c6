#include "daemon/probe/map_sizes.h"

#include <algorithm>

#include "bpf/wire.h"

namespace goheapd::probe {
namespace {

// Of a hash map, what an entry takes besides its values: key, place in its bucket, allocator's and cgroup's notes.
constexpr uint64_t kHashEntryBytes = 192;

uint32_t fit(uint32_t wanted, uint32_t fewest, uint64_t entry_bytes) {
  const uint64_t fits = std::max<uint64_t>(kMostPerCpuMapBytes / entry_bytes, fewest);
  return static_cast<uint32_t>(std::min<uint64_t>(wanted, fits));
}

}  // namespace

BpfSizes fit_to_cpus(BpfSizes wanted, unsigned possible_cpus) {
  const uint64_t cpus = std::max(possible_cpus, 1u);
  wanted.exact_entries =
      fit(wanted.exact_entries, kFewestExactEntries, kHashEntryBytes + cpus * sizeof(wire::WireExactValue));
  wanted.targets = fit(wanted.targets, kFewestTargets, cpus * sizeof(wire::WireStatistics));
  return wanted;
}

}  // namespace goheapd::probe
