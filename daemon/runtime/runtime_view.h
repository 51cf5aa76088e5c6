// One live Go runtime: how to read its memory, how its structs are laid out, where its variables are.
//
//   ProcessMemory ─┐
//   RuntimeLayout ─┼─▶ RuntimeView ──▶ runtime_self_check()      may we believe what we read?
//   addresses ─────┘        ├────────▶ BucketReader              the memory profile
//                           ├────────▶ GcReader                  cycles and pauses
//                           ├────────▶ HeapStatsReader           objects by size class
//                           └────────▶ MemStatsReader            runtime.MemStats
//
// Nothing read through it is trusted: the target may change it at any moment, and may be hostile.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "daemon/base/expected.h"
#include "daemon/gobin/go_binary.h"
#include "daemon/gobin/runtime_layout.h"
#include "daemon/process/proc_fs.h"
#include "daemon/process/process_memory.h"

namespace goheapd::runtime {

// Addresses of runtime variables in the process, that is with the load bias added.
struct RuntimeAddresses {
  uint64_t mbuckets = 0;          // *bucket, head of the list of all memory profile buckets
  uint64_t mprof_cycle = 0;       // uint32, cycle << 1 | flushed
  uint64_t mem_profile_rate = 0;  // int
  uint64_t mheap = 0;             // mheap
  uint64_t memstats = 0;          // mstats
  uint64_t allp = 0;              // []*p
  uint64_t allgptr = 0;           // **g
  uint64_t allglen = 0;           // uintptr
  uint64_t m0 = 0;                // m of the main thread; 0: not known, and not checked then
  // A mutex that is held while buckets are flushed. 0: not known; then a reading that falls into a flush whose
  // thread was preempted may mix values of two GC cycles, which no other sign tells.
  uint64_t prof_mem_active_lock = 0;
  // 0: not known; only the readers of statistics want them.
  uint64_t gc_controller = 0;      // gcControllerState
  uint64_t work = 0;               // workType
  uint64_t sched = 0;              // schedt
  uint64_t gomaxprocs = 0;         // int32
  uint64_t runtime_init_time = 0;  // int64, nanoseconds of CLOCK_MONOTONIC
};

class RuntimeView {
 public:
  // Of a process that runs `binary`. Errors: a variable that the file does not give away, no permission, exited.
  static Expected<RuntimeView> open(const process::ProcFs& proc, const gobin::GoBinary& binary, pid_t pid);

  RuntimeView(process::ProcessMemory memory, const gobin::RuntimeLayout& layout,
              const RuntimeAddresses& addresses)
      : memory_(std::move(memory)), layout_(layout), addresses_(addresses) {}

  const process::ProcessMemory& memory() const { return memory_; }
  const gobin::RuntimeLayout& layout() const { return layout_; }
  const RuntimeAddresses& addresses() const { return addresses_; }

  // runtime.MemProfileRate as it is now, in bytes; 0 = the sampler is off.
  Expected<uint64_t> sample_rate() const;

 private:
  process::ProcessMemory memory_;
  gobin::RuntimeLayout layout_;
  RuntimeAddresses addresses_;
};

}  // namespace goheapd::runtime
