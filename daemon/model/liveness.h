// Which tracked objects a garbage collection has left alive. Plain values.
#pragma once

#include <cstdint>
#include <vector>

namespace goheapd::model {

// An object whose life we follow: the first of a sampled run.
struct TrackedObject {
  uint64_t address = 0;
  uint64_t birth_ns = 0;  // tells it from a later object in the same slot
  uint32_t sweepgen = 0;  // mheap_.sweepgen at birth
  bool operator==(const TrackedObject&) const = default;
};

// The verdicts of one GC cycle. A verdict is one object in one cycle. Each object needs one for every cycle: if one was
// missed, the slot may have been freed and given to another object, which then looks like the old one.
struct LivenessReading {
  uint64_t begin_ns = 0;
  uint64_t end_ns = 0;
  uint32_t sweepgen = 0;       // of the cycle: 2 x number of cycles
  uint32_t missed_cycles = 0;  // between the reading before and this one
  uint64_t judged = 0;         // objects that are known alive or dead
  uint64_t young = 0;          // born in this cycle or after it: not its business
  uint64_t unknown = 0;        // the next cycle came before we had looked, or the memory made no sense
  uint64_t due_verdicts = 0;   // of this cycle and of those missed
  uint64_t lost_verdicts = 0;  // of these, those that nobody will ever know
  std::vector<TrackedObject> dead;
};

}  // namespace goheapd::model
