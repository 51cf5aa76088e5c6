// At which size of the heap a GC cycle begins, and at which it should end, as the runtime's pacer computes both.
//
//   heap_marked ──────── trigger ──────────── goal          bytes of objects
//   left by the last     a cycle begins       it ends
#pragma once

#include <cstdint>

#include "daemon/base/byte_view.h"
#include "daemon/base/expected.h"
#include "daemon/gobin/runtime_layout.h"

namespace goheapd::runtime {

// What both depend on (gcControllerState); bytes. `heap_alloc` = gcController.totalAlloc - totalFree, to which
// ReadMemStats adds what the processors have not handed in.
struct HeapGoalInputs {
  uint64_t percent_goal = 0;  // gcPercentHeapGoal
  uint64_t sweep_distance_trigger = 0;
  uint64_t triggered = 0;  // ~0 = no cycle runs
  uint64_t runway = 0;     // how much the program is expected to allocate while a cycle marks
  uint64_t heap_marked = 0;
  uint64_t heap_free = 0;
  uint64_t heap_alloc = 0;
  uint64_t mapped_ready = 0;
  uint64_t memory_limit = 0;
};

// Those in a copy of gcController that reaches from its begin to mappedReady. Error: it is too short.
Expected<HeapGoalInputs> heap_goal_inputs(const gobin::RuntimeLayout& layout, ByteView controller);

// The heap size at which the next cycle should end (gcControllerState.heapGoal) in Go 1.`minor`.
// https://github.com/golang/go/blob/go1.24.4/src/runtime/mgcpacer.go#L971
uint64_t heap_goal(const HeapGoalInputs& inputs, int minor);

// The heap size at which the next cycle begins by itself (gcControllerState.trigger), while none runs.
// https://github.com/golang/go/blob/go1.24.4/src/runtime/mgcpacer.go#L1108
uint64_t heap_trigger(const HeapGoalInputs& inputs, int minor);

}  // namespace goheapd::runtime
