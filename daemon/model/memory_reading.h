// What the Go runtime counts about its memory, read from outside. Plain values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace goheapd::model {

// Go's size classes; class 0 stands for large objects and is unused here.
inline constexpr size_t kHeapStatsClasses = 68;

struct ClassCounts {
  uint64_t allocs = 0;  // slots taken, a slot of tiny objects once
  uint64_t frees = 0;   // slots swept
};

// The allocator's own counters since the program started: what has been handed to the statistics and what the
// processors still have to hand in.
struct HeapStatsReading {
  uint64_t begin_ns = 0;  // kernel time before the first and after the last byte was read
  uint64_t end_ns = 0;
  // True: the counters of each size class (and of large objects, and the sizes) are as of one moment between begin
  // and end. Two classes may be as of two such moments. False: the allocator was too busy for that, and the classes
  // for which it is so lack at most the objects of the spans that were handed in between begin and end.
  bool consistent = false;
  // All the time the runtime was adding its counters to each other: what is here may be counted twice.
  bool may_count_twice = false;
  uint32_t retries = 0;

  std::array<ClassCounts, kHeapStatsClasses> small{};  // by size class, [0] unused
  ClassCounts large;
  uint64_t large_alloc_bytes = 0;
  uint64_t large_free_bytes = 0;
  // Objects without pointers below 16 bytes that were put into a slot together with others, without the first of
  // each slot. MemStats counts them as allocated and freed.
  uint64_t tiny_allocs = 0;

  // Bytes.
  int64_t committed = 0;
  int64_t released = 0;
  int64_t in_heap = 0;
  int64_t in_stacks = 0;
  int64_t in_work_bufs = 0;
  int64_t in_ptr_scalar_bits = 0;  // 0 from Go 1.25 on
};

// How often all goroutines were stopped since the program started.
struct StopCounts {
  uint64_t for_gc = 0;
  uint64_t other = 0;
};

// What runtime.ReadMemStats would say now, under its names; and what else Go's collectors report of a runtime.
struct MemStatsReading {
  uint64_t begin_ns = 0;  // kernel time before the first and after the last byte was read
  uint64_t end_ns = 0;
  bool consistent =
      false;  // nothing but objects changed while it was read, and those are as in HeapStatsReading
  bool may_count_twice = false;  // as in HeapStatsReading

  uint64_t total_alloc = 0;  // bytes
  uint64_t mallocs = 0;
  uint64_t frees = 0;
  uint64_t heap_alloc = 0;  // bytes, as all that follow
  uint64_t heap_sys = 0;
  uint64_t heap_idle = 0;
  uint64_t heap_inuse = 0;
  uint64_t heap_released = 0;
  uint64_t stack_inuse = 0;
  uint64_t stack_sys = 0;
  uint64_t mspan_inuse = 0;
  uint64_t mspan_sys = 0;
  uint64_t mcache_inuse = 0;
  uint64_t mcache_sys = 0;
  uint64_t buck_hash_sys = 0;
  uint64_t gc_sys = 0;
  uint64_t other_sys = 0;
  uint64_t sys = 0;
  uint64_t next_gc = 0;
  uint64_t last_gc_unix_ns = 0;  // 0 = never
  uint64_t pause_total_ns = 0;
  uint32_t num_gc = 0;
  uint32_t num_forced_gc = 0;
  double gc_cpu_fraction = 0;
  // Stop-the-world time of each of the last 256 cycles, in no order.
  std::vector<uint64_t> pauses_ns;

  int32_t gc_percent = 0;           // GOGC; -1 = off
  int64_t memory_limit = 0;         // GOMEMLIMIT in bytes; INT64_MAX = none
  std::optional<StopCounts> stops;  // none: this version of Go does not count them

  int32_t max_procs = 0;
  uint64_t goroutines = 0;  // without the runtime's own
  uint64_t threads = 0;
};

// What the kernel says of a process.
struct ProcessUsage {
  double cpu_seconds = 0;
  uint64_t virtual_bytes = 0;
  uint64_t resident_bytes = 0;
  double start_seconds = 0;                   // since 1970
  std::optional<uint64_t> open_fds;           // none: we may not look
  std::optional<uint64_t> max_fds;            // UINT64_MAX = unlimited
  std::optional<uint64_t> max_virtual_bytes;  // UINT64_MAX = unlimited
};

// All of one target at one moment.
struct ProgramStatistics {
  std::string go_version;
  MemStatsReading memory;
  std::optional<ProcessUsage> usage;
};

}  // namespace goheapd::model
