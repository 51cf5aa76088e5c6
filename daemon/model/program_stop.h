// Times for which all goroutines of a target were stopped, for whatever reason. Plain values.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "daemon/model/gc_cycle.h"

namespace goheapd::model {

// From the request to stop until all were let go; moments by CLOCK_MONOTONIC.
struct ProgramStop {
  uint64_t began_ns = 0;
  uint64_t ended_ns = 0;
  std::string_view reason;  // of a table, runtime/stop_reasons.h: lives for ever
};

// All stops for one reason that were seen.
struct StopTotal {
  std::string_view reason;
  bool for_gc = false;
  uint64_t stops = 0;
  double seconds = 0;
};

// What has been seen of one target's collector and of other stops, oldest first.
struct GcLog {
  std::vector<GcCycle> cycles;
  std::vector<ProgramStop> other_stops;  // those that no GC cycle asked for
  std::vector<StopTotal> stop_totals;
};

}  // namespace goheapd::model
