// Is this really the runtime that we think it is?
#pragma once

#include "daemon/base/expected.h"
#include "daemon/runtime/runtime_view.h"

namespace goheapd::runtime {

// Compares what must hold in every live Go runtime with what is found at our addresses and offsets: a wrong address,
// bias or layout (a patched Go, a version that is not what it says) would make every later reading nonsense. Takes
// below a millisecond, some more if the target is in the middle of a garbage collection.
//
//   mheap.sweepgen is even and twice memstats.numgc       mheap_, memstats
//   mheap.allspans[i].startAddr leads back to that span   arenas, heapArena.spans, mspan
//   m0.g0.m == &m0                                        m0, m, g
//   allgs[0].goid == 1, allp[0].id == 0                   allgptr, allp, g, p
//   MemProfileRate is a sane number                       MemProfileRate
//   buckets: type, slot size, and the hash of their stack   mbuckets, bucket
//
// An Error says which of it does not hold: the target is refused. Needs a runtime that has come to run main.
Expected<void> runtime_self_check(const RuntimeView& view);

}  // namespace goheapd::runtime
