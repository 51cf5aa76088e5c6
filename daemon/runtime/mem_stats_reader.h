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
#include "daemon/runtime/heap_stats_reader.h"
#include "daemon/runtime/runtime_view.h"

namespace goheapd::runtime {

// What the heap goal depends on (gcControllerState); bytes. `heap_alloc` = gcController.totalAlloc - totalFree, to which
// ReadMemStats adds what the processors have not handed in.
struct HeapGoalInputs {
  uint64_t percent_goal = 0;  // gcPercentHeapGoal
  uint64_t sweep_distance_trigger = 0;
  uint64_t triggered = 0;  // ~0 = no cycle runs
  uint64_t heap_marked = 0;
  uint64_t heap_free = 0;
  uint64_t heap_alloc = 0;
  uint64_t mapped_ready = 0;
  uint64_t memory_limit = 0;
};

// The heap size at which the next cycle should end (gcControllerState.heapGoal) in Go 1.`minor`.
// https://github.com/golang/go/blob/go1.24.4/src/runtime/mgcpacer.go#L971
uint64_t heap_goal(const HeapGoalInputs& inputs, int minor);

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
