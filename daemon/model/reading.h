// What the Go runtime remembers by itself, read from its memory. Plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace goheapd::model {

struct ObjectCounts {
  uint64_t allocs = 0;
  uint64_t frees = 0;
};

// One of the runtime's memory-profile buckets: one (stack, slot size).
struct BucketRecord {
  uint64_t address = 0;      // of the bucket in the target; it identifies it for the process's life
  uint64_t object_size = 0;  // slot size in bytes; 0 cannot happen
  std::vector<uint64_t>
      stack;  // LOGICAL return addresses, innermost first: an inlined frame has its own pseudo pc
  ObjectCounts published;  // what runtime.MemProfile would say now (as of the last completed GC cycle)
  ObjectCounts fresh;      // all that has happened until now
};

// All buckets at one moment, consistent (double collect).
struct BucketReading {
  uint64_t begin_ns = 0;  // kernel time before the first and after the last byte was read
  uint64_t end_ns = 0;
  uint64_t sample_rate = 0;    // runtime.MemProfileRate in bytes; 0 = sampler off
  uint32_t profile_cycle = 0;  // mProfCycle >> 1
  bool consistent = false;     // false: retries were used up; values may be torn between buckets
  uint32_t retries = 0;
  bool truncated = false;  // there are more buckets than we are willing to read: the oldest are missing
  std::vector<BucketRecord> buckets;  // the stack of a bucket that an earlier reading had is empty
};

// Stop-the-world pauses of completed GC cycles.
struct GcReading {
  uint32_t cycles = 0;  // memstats.numgc
  uint32_t forced_cycles = 0;
  // Of the last cycles, oldest first: since the last reading that was adopted, as far as the runtime's ring of 256 still has
  // them.
  std::vector<uint64_t> new_pauses_ns;
  // Number and end by CLOCK_REALTIME of the last cycles, at most two, oldest first.
  std::vector<std::pair<uint32_t, int64_t>> last_ends;
};

}  // namespace goheapd::model
