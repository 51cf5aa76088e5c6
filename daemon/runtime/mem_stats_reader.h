// Reads what runtime.ReadMemStats would say, without stopping anything.
//
//   HeapStatsReader ──▶ objects and their bytes ┐
//   gcController    ──▶ heap sizes, GOGC, goal  ├──▶ model::MemStatsReading
//   memstats        ──▶ *_sys, cycles, pauses   │
//   mheap_, sched   ──▶ spans, threads, ...     ┘
//
// https://github.com/golang/go/blob/go1.24.4/src/runtime/mstats.go#L365
#pragma once

#include <cstdint>
#include <vector>

#include "daemon/base/expected.h"
#include "daemon/model/memory_reading.h"
#include "daemon/runtime/heap_pacing.h"
#include "daemon/runtime/heap_stats_reader.h"
#include "daemon/runtime/runtime_view.h"

namespace goheapd::runtime {

// One thread at a time.
class MemStatsReader {
 public:
  // `view` must outlive the reader.
  explicit MemStatsReader(const RuntimeView& view) : view_(&view), heap_stats_(view) {}

  // Errors: the process is gone or replaced; a variable's address is not known.
  Expected<model::MemStatsReading> read();

 private:
  // Everything but the objects.
  struct Rest;
  Expected<Rest> read_rest();
  Expected<std::optional<model::StopCounts>> read_stops();
  Expected<uint64_t> free_goroutines(uint64_t listed_centrally);

  const RuntimeView* view_;
  HeapStatsReader heap_stats_;
};

}  // namespace goheapd::runtime
