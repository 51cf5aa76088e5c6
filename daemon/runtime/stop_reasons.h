// Why the Go runtime stopped all goroutines, in its own words.
#pragma once

#include <string_view>
#include <vector>

#include "daemon/model/event.h"

namespace goheapd::runtime {

struct StopReason {
  std::string_view text;  // of a table: what a process says that is not in it is "unknown"
  bool for_gc = false;    // a phase of a GC cycle
};

// In Go 1.`minor`.
StopReason stop_reason(int minor, const model::WorldStop& stop);
// All of its table but those that only the runtime's own tests have.
std::vector<StopReason> stop_reasons(int minor);

}  // namespace goheapd::runtime
