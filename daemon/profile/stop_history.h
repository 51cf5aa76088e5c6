// The last stops of one target's goroutines that were not for its collector, and sums over all that were seen.
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include "daemon/model/program_stop.h"

namespace goheapd::profile {

class StopHistory {
 public:
  static constexpr size_t kKept = 1000;

  // `for_gc`: counted, but not kept: the cycles tell of it.
  void add(const model::ProgramStop& stop, bool for_gc);

  const std::deque<model::ProgramStop>& others() const { return others_; }
  // In the order in which the reasons came up first. As many as the runtime has reasons.
  const std::vector<model::StopTotal>& totals() const { return totals_; }

 private:
  std::deque<model::ProgramStop> others_;
  std::vector<model::StopTotal> totals_;
};

}  // namespace goheapd::profile
