// Which tracked objects a garbage collection has left alive. Plain values.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "daemon/model/memory_reading.h"

namespace goheapd::model {

// An object whose life we follow: the first of a sampled run.
struct TrackedObject {
  uint64_t address = 0;
  uint64_t birth_ns = 0;  // tells it from a later object in the same slot
  uint32_t sweepgen = 0;  // mheap_.sweepgen at birth
  bool is_old = false;    // it was there before goheapd came; the others above are of when it was found
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
  // Of those that were there before goheapd came, which the numbers above leave out: what nobody will ever know any more.
  std::vector<TrackedObject> out_of_sight;
};

// Objects that were in the heap at one moment, chosen at random.
struct HeapCensus {
  struct Class {
    uint64_t objects = 0;  // looked at
    uint64_t bytes = 0;
  };
  struct Object {
    TrackedObject object;
    uint32_t size_class = 0;
    uint64_t bytes = 0;
  };
  std::array<Class, kHeapStatsClasses> classes{};
  std::vector<Object> alive;  // of these, those that the last collection has not found dead
};

}  // namespace goheapd::model
