// What the Go runtime counts about its memory, read from outside. Plain values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

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

}  // namespace goheapd::model
