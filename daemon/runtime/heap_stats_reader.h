// Reads the allocator's counters: objects allocated and freed by size class, as of one moment.
//
// The runtime counts in two places. A processor (p) allocates from spans that it has taken for itself, and hands in
// what it took from a span when it gives the span back:
//
//   allp[i].mcache.alloc[class] ──▶ mspan.allocCount - allocCountBeforeCache      not handed in yet
//                 .tinyAllocs
//                          │ refill, releaseAll
//                          ▼
//   memstats.heapStats.stats[0..2]    three parts of one total; runtime/metrics merges them in turn
//
// https://github.com/golang/go/blob/go1.24.4/src/runtime/mcache.go#L147
// https://github.com/golang/go/blob/go1.24.4/src/runtime/mstats.go#L721
//
// Nobody stops the target. The total is read before and after the processors' parts: a class whose total did not
// change had no span handed in meanwhile, so both parts belong together. A span that is still in a processor's table but
// no longer marked as taken is just being handed in: try again. What stays torn lacks
// objects rather than having some twice, unless the runtime merges all the time: that is said.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "daemon/base/expected.h"
#include "daemon/model/memory_reading.h"
#include "daemon/runtime/runtime_view.h"

namespace goheapd::runtime {

// Stateless but for its buffers. One thread at a time.
class HeapStatsReader {
 public:
  // `view` must outlive the reader.
  explicit HeapStatsReader(const RuntimeView& view) : view_(&view) {}

  // Takes 20 to 60 microseconds on a quiet target, at most some milliseconds on one that allocates without pause.
  // Errors: the process is gone or replaced, its tables make no sense.
  Expected<model::HeapStatsReading> read();

 private:
  // What lies in the runtime's global variables.
  struct Handed {
    model::HeapStatsReading totals;
    bool merging = false;  // runtime/metrics is adding one part to another: sums may count things twice
    uint32_t generation = 0;
    uint32_t sweepgen = 0;
    uint64_t allp = 0;
    uint64_t processors = 0;
  };
  // What the processors have not handed in.
  struct Cached {
    std::array<uint64_t, model::kHeapStatsClasses> small{};
    std::array<bool, model::kHeapStatsClasses> torn{};
    uint64_t tiny = 0;
  };

  Expected<Handed> read_handed();
  Expected<Cached> read_cached(const Handed& handed);
  Expected<void> read_caches(const Handed& handed);

  const RuntimeView* view_;
  std::vector<std::byte> handed_bytes_;
  std::vector<std::byte> caches_;  // of all processors: a part of mcache each
};

}  // namespace goheapd::runtime
