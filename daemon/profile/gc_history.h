// The last garbage collections of one target, and sums over all that were seen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "daemon/model/gc_cycle.h"

namespace goheapd::profile {

class GcHistory {
 public:
  static constexpr size_t kKept = 1000;

  // Cycles come in their order. False: one of this number is there already, and nothing is changed.
  bool add(const model::GcCycle& cycle);

  const std::deque<model::GcCycle>& cycles() const { return cycles_; }
  const model::GcTotals& totals() const { return totals_; }
  // nullopt: not seen, or not kept any more.
  std::optional<model::GcCycle> find(uint32_t number) const;

 private:
  std::deque<model::GcCycle> cycles_;  // ascending by number, with gaps where some were missed
  model::GcTotals totals_;
};

}  // namespace goheapd::profile
