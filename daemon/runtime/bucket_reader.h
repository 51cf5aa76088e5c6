// Reads the runtime's memory profile from outside: the counters of all buckets, as of one moment.
//
// Each bucket counts in four places, of which the runtime adds one to another as the garbage collector goes on:
//
//   cycle C = mProfCycle >> 1        active      what MemProfile shows, all up to the last completed cycle
//   future[C % 3]                      ▲         added to active by mProf_Flush ("published" = active + this)
//   future[(C+1) % 3]  frees of the sweep that runs now     ┐ added later; "fresh" = active + all three
//   future[(C+2) % 3]  allocations of now                   ┘
//
// https://github.com/golang/go/blob/go1.24.4/src/runtime/mprof.go#L87
//
// Nobody stops the target, so a flush may run while we read. Double collect: read all counters, then cycle and lock
// (moment T), then all counters again. `active` only grows: where it is the same before and after T, it was so at
// T. If no flush held the lock at T, these are the values that MemProfile would have copied at T. Else again.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "daemon/base/expected.h"
#include "daemon/model/reading.h"
#include "daemon/runtime/bucket_list.h"
#include "daemon/runtime/record_gather.h"
#include "daemon/runtime/runtime_view.h"

namespace goheapd::runtime {

// One per target, for as long as the program runs: it remembers headers, so that later readings fetch counters only.
// One thread at a time.
class BucketReader {
 public:
  // `view` must outlive the reader.
  explicit BucketReader(const RuntimeView& view);

  // Published values fall once in a program's life: before the first GC cycle MemProfile shows all there is, and
  // after it only what that cycle has published (unless somebody in the program took a profile before).
  // Takes 1 to 3 ms for 10,000 buckets (see tests/bench), a few times that while the target collects garbage without
  // pause. A stack is delivered once, with the first reading that has its bucket; the order of buckets is that of
  // their addresses. Errors: the process is gone or replaced, the list is damaged; the reader may be asked again.
  Expected<model::BucketReading> read();

 private:
  struct Cycle {
    uint64_t allocs = 0;
    uint64_t frees = 0;
    bool operator==(const Cycle&) const = default;
  };
  struct Counters {
    Cycle active;
    Cycle future[3];
  };
  struct Moment {
    uint32_t cycle = 0;
    bool flushing = false;
  };

  Expected<void> adopt_new_buckets();
  Expected<Moment> read_moment() const;
  Expected<Counters> parse(ByteView record) const;
  // True: `first_` is what the counters were at `moment`.
  Expected<bool> double_collect(Moment& moment);

  const RuntimeView* view_;
  BucketList list_;
  RecordGather gather_;
  // All known buckets, in ascending order of `counters`, without their stacks.
  std::vector<Bucket> buckets_;
  std::vector<uint64_t> record_addresses_;  // their `counters`
  // Stacks that no reading has delivered yet, by address of the bucket.
  std::unordered_map<uint64_t, std::vector<uint64_t>> undelivered_;
  std::vector<Counters> first_;  // of the first collect; parallel to buckets_
};

}  // namespace goheapd::runtime
