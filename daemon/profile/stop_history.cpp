#include "daemon/profile/stop_history.h"

#include <algorithm>

namespace goheapd::profile {

void StopHistory::add(const model::ProgramStop& stop, bool for_gc) {
  auto total = std::find_if(totals_.begin(), totals_.end(),
                            [&](const model::StopTotal& known) { return known.reason == stop.reason; });
  if (total == totals_.end()) {
    totals_.push_back({stop.reason, for_gc, 0, 0});
    total = totals_.end() - 1;
  }
  ++total->stops;
  if (stop.ended_ns > stop.began_ns) {
    total->seconds += static_cast<double>(stop.ended_ns - stop.began_ns) * 1e-9;
  }
  if (for_gc) return;
  others_.push_back(stop);
  if (others_.size() > kKept) others_.pop_front();
}

}  // namespace goheapd::profile
