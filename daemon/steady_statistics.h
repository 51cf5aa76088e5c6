// Memory statistics as counters that users see: none may fall, though a reading of a busy program may be torn.
//
//   readings   100   90 (lacks objects of spans that were being handed in)   110   220 (a part counted twice)   120
//   shown      100  100                                                      110   110, all as it was before    120
#pragma once

#include <algorithm>
#include <optional>
#include <utility>

#include "daemon/model/memory_reading.h"

namespace goheapd {

class SteadyStatistics {
 public:
  // Nothing: this reading cannot be believed, and there was none before it.
  std::optional<model::MemStatsReading> show(model::MemStatsReading reading) {
    if (reading.may_count_twice) return last_;
    if (last_) {
      // The others are single words of the runtime's, which do not fall.
      reading.total_alloc = std::max(reading.total_alloc, last_->total_alloc);
      reading.mallocs = std::max(reading.mallocs, last_->mallocs);
      reading.frees = std::max(reading.frees, last_->frees);
    }
    last_ = std::move(reading);
    return last_;
  }

 private:
  std::optional<model::MemStatsReading> last_;
};

}  // namespace goheapd
