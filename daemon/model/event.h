// What the probes saw, decoded. Plain values: nothing behind the decoder knows how they travelled.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "daemon/model/process_key.h"

namespace goheapd::model {

// All `time_ns` are CLOCK_MONOTONIC nanoseconds as bpf_ktime_get_ns() gave them.

// The runtime's sampler took an object and linked it to a profile bucket (runtime.setprofilebucket).
struct SampledBirth {
  pid_t pid = 0;
  uint64_t time_ns = 0;
  uint64_t address = 0;
  uint64_t bucket = 0;  // address of the runtime's bucket in the target
  uint64_t goid = 0;    // 0 = unknown
};

// The sweeper freed a sampled object (runtime.freeSpecial with a profile special).
struct SampledDeath {
  pid_t pid = 0;
  uint64_t time_ns = 0;
  uint64_t address = 0;
  uint64_t bucket = 0;
  uint64_t size = 0;  // slot size in bytes
};

// The runtime sampled an allocation (runtime.profilealloc): who allocates now, by physical call stack.
struct SampledAllocation {
  pid_t pid = 0;
  uint64_t time_ns = 0;
  uint64_t address = 0;
  uint64_t size = 0;
  uint64_t goid = 0;
  bool truncated = false;       // deeper than the probe walks
  std::vector<uint64_t> stack;  // return addresses, innermost first
};

// A GC cycle ended (runtime.mProf_Flush) or the forced GC's second flush was done (runtime.mProf_PostSweep):
// the published values of the runtime's profile have just changed.
struct GcProfileFlush {
  pid_t pid = 0;
  uint64_t time_ns = 0;
  bool post_sweep = false;
};

// ---- source `spans`: sampling where the runtime's own sampler is off
//
// Each P takes small objects of a span class from one span at a time, its *run*, until that is full or a GC takes it
// back. Runs, not objects, are sampled:
//
//   refill ─▶ run opens, plans N = free slots of its span ──▶ ... objects ... ──▶ full: all N were handed out
//               │ sampled with p = 1 - exp(-N*slot/mean)                     └──▶ GC:   SpanRunCut, n < N were
//               ▼
//             SpanRunOpened: address and stack of its first object
//
// One Poisson process of one point per `mean_distance` bytes runs over all planned bytes; a run with at least one
// point in it is sampled. So with w = 1 / (1 - exp(-planned_objects * object_bytes / mean_distance)), which is
// profile::unsampling_factor(planned bytes, mean_distance), a sampled run stands for
//
//   w * used_objects             objects of its stack      used_objects = planned_objects, or what SpanRunCut says
//   w * used_objects * object_bytes   bytes
//
// Whether a run is sampled depends on what it plans, never on what becomes of it, so cut runs keep the weight of their
// plan: the expectation of w * used is what was used. Taking every run would
// give the bytes of each class exactly, to the stacks that open its runs; sampling adds noise and no bias. What one stack
// opens for another evens out as far as the phase of the runs is random; two stacks that take turns in one class can
// share wrongly, within the total of that class.
//
// The first object also stands for its run in the live heap: while it lives, w * used_objects objects count as alive.
struct SpanRunOpened {
  pid_t pid = 0;
  uint64_t time_ns = 0;
  uint64_t address = 0;     // of the slot of the first object. {address, time_ns} names the run
  uint32_t span_class = 0;  // size class << 1 | noscan; 0 and 1 = a large object, a run of its own, never cut
  uint64_t object_bytes = 0;     // of a slot; of a large object its whole pages
  uint32_t planned_objects = 0;  // slots: tiny objects share one of 16 bytes (span class 5)
  uint64_t mean_distance = 0;    // in bytes, as it was in force for this run; changes while the target runs
  uint32_t sweepgen = 0;         // mheap_.sweepgen at birth
  uint64_t goid = 0;             // 0 = unknown
  bool truncated = false;        // deeper than the probe walks
  std::vector<uint64_t> stack;   // return addresses, innermost (a function of the allocator) first
};

// A GC took a sampled run's span back before it was full ((*mcache).releaseAll). Comes after its SpanRunOpened.
struct SpanRunCut {
  pid_t pid = 0;
  uint64_t time_ns = 0;
  uint64_t address = 0;       // } of the run
  uint64_t opened_ns = 0;     // }
  uint32_t used_objects = 0;  // 1 to planned_objects
};

// The runtime's variables as a GC cycle left them, copied at its end (runtime.mProf_Flush); runtime/gc_cycle.h knows what
// they mean.
enum GcPart : size_t { kGcWork, kGcController, kGcMemstats, kGcInitTime };
inline constexpr size_t kGcParts = 4;
struct GcCycleMemory {
  pid_t pid = 0;
  uint64_t time_ns = 0;
  std::array<std::vector<std::byte>, kGcParts> parts;  // by GcPart
  // Its gcController when the world last stopped without a cycle running, and when that was; 0 = it was not seen.
  uint64_t start_ns = 0;
  std::vector<std::byte> controller_at_start;
};

// The GC cycle that ends next has looked for leaked goroutines.
struct GcLeakCheck {
  pid_t pid = 0;
  uint64_t time_ns = 0;
};

// All goroutines were stopped for a while, for whatever reason (runtime.stopTheWorldWithSema). runtime/stop_reasons.h has
// the reason in words.
struct WorldStop {
  pid_t pid = 0;
  uint64_t time_ns = 0;            // when they were let go
  uint64_t began_ns = 0;           // when it was asked for
  std::optional<uint32_t> reason;  // a stwReason; none: `text`
  std::string text;                // what the runtime noted, of a process that may lie
};

// Probes were hit so often that the kernel has stopped recording (AttachRequest::storm_ns).
struct HitStorm {
  pid_t pid = 0;
  uint64_t time_ns = 0;
};

struct ProcessExec {
  pid_t pid = 0;
  uint64_t time_ns = 0;
};
struct ProcessExit {
  pid_t pid = 0;
  uint64_t time_ns = 0;
};

using Event =
    std::variant<SampledBirth, SampledDeath, SampledAllocation, GcProfileFlush, HitStorm, ProcessExec,
                 ProcessExit, SpanRunOpened, SpanRunCut, GcCycleMemory, GcLeakCheck, WorldStop>;

// Exact mode: what the kernel has counted for one (stack, size class, type) since attach. Cumulative.
struct ExactCount {
  pid_t pid = 0;
  uint64_t stack_hash = 0;
  uint64_t type = 0;        // address of the *runtime._type, 0 = none given
  uint32_t size_class = 0;  // 0 = large
  bool noscan = false;      // the type holds no pointers
  bool tiny = false;        // pointer-free and below 16 bytes: sub-allocated in shared 16-byte blocks
  uint64_t objects = 0;
  uint64_t requested_bytes = 0;
  uint64_t slot_bytes = 0;  // what the allocator really uses; for tiny objects the requested bytes
};

// A stack that exact counts refer to; shipped once.
struct ExactStack {
  pid_t pid = 0;
  uint64_t stack_hash = 0;
  bool truncated = false;
  std::vector<uint64_t> stack;  // return addresses, innermost first
};

}  // namespace goheapd::model
