// What the probes saw, decoded. Plain values: nothing behind the decoder knows how they travelled.
#pragma once

#include <cstdint>
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

struct ProcessExec {
  pid_t pid = 0;
  uint64_t time_ns = 0;
};
struct ProcessExit {
  pid_t pid = 0;
  uint64_t time_ns = 0;
};

using Event =
    std::variant<SampledBirth, SampledDeath, SampledAllocation, GcProfileFlush, ProcessExec, ProcessExit>;

// Exact mode: what the kernel has counted for one (stack, size class, type) since attach. Cumulative.
struct ExactCount {
  pid_t pid = 0;
  uint64_t stack_hash = 0;
  uint64_t type = 0;        // address of the *runtime._type, 0 = none given
  uint32_t size_class = 0;  // 0 = large
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
