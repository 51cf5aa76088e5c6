// One garbage collection of a target, as GODEBUG=gctrace=1 would tell it. Plain values.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace goheapd::model {

// Nanoseconds; moments by CLOCK_MONOTONIC.
//
//      all stopped              all stopped
//    ┌────────────┐           ┌────────────┐
//  start        mark      mark_end        end
//     ends the sweep    ▲    ends marking, begins the next sweep
//    before             └── workers and assists mark while the program runs
struct GcCycle {
  uint32_t number = 0;  // memstats.numgc
  bool forced = false;  // runtime.GC()
  // What the runtime would print: work.userForced, which up to 1.19 the next cycle may have set already.
  // https://github.com/golang/go/blob/go1.19.8/src/runtime/mgc.go#L616
  bool printed_as_forced = false;
  bool leak_check = false;     // also looked for leaked goroutines
  uint32_t forced_so_far = 0;  // memstats.numforcedgc
  int64_t program_start_ns = 0;
  int64_t start_ns = 0;
  int64_t mark_ns = 0;
  int64_t mark_end_ns = 0;
  int64_t end_ns = 0;
  int64_t pause_ns =
      0;  // the runtime's own sum: both stops, and those of attempts to end that came too early
  int32_t stop_procs = 0;
  int32_t max_procs = 0;
  double cpu_fraction = 0;  // of the program's CPU time since its start, in all cycles

  int64_t assist_ns = 0;  // CPU time in this cycle
  int64_t dedicated_ns = 0;
  int64_t fractional_ns = 0;
  int64_t idle_ns = 0;

  // Bytes of objects at which it was to begin by itself; a forced one does not wait for that. None: its start was not seen.
  std::optional<uint64_t> trigger;
  uint64_t heap_before = 0;  // when it did begin
  uint64_t heap_at_mark_end = 0;
  uint64_t heap_marked = 0;  // found alive
  uint64_t goal = 0;         // that this cycle had
  uint64_t next_goal = 0;
  uint64_t next_trigger = 0;  // as things are at its end
  uint64_t heap_live = 0;     // as this was read: marked, and allocated since
  uint64_t heap_in_use = 0;   // spans with objects
  uint64_t stack_bytes = 0;
  uint64_t global_bytes = 0;
  int32_t gc_percent = 0;    // GOGC; -1 = off
  int64_t memory_limit = 0;  // INT64_MAX = none
};

// What the collector's CPU time goes to.
inline constexpr std::array<std::string_view, 5> kGcCpuKinds = {"assist", "dedicated", "fractional", "idle",
                                                                "pause"};

// Sums over the cycles that were seen, for metrics.
struct GcTotals {
  uint64_t seen = 0;
  uint64_t missed = 0;  // known only by the number of the next that was seen
  std::array<double, kGcCpuKinds.size()> cpu_seconds{};
};

}  // namespace goheapd::model
