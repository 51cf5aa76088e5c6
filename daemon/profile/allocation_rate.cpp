#include "daemon/profile/allocation_rate.h"

namespace goheapd::profile {

void AllocationRate::observe(uint64_t time_ns, double bytes, uint64_t samples) {
  if (!marks_.empty() && (bytes < marks_.back().bytes || samples < marks_.back().samples)) marks_.clear();
  if (!marks_.empty() && time_ns < marks_.back().time_ns + kShortest) return;
  marks_.push_back({time_ns, bytes, samples});
  // The oldest is the youngest with enough samples behind it.
  while (marks_.size() > 2 &&
         (samples - marks_[1].samples >= kEnoughSamples || time_ns - marks_[1].time_ns >= kLongest))
    marks_.pop_front();
}

double AllocationRate::bytes_per_second() const {
  if (marks_.size() < 2) return 0;
  const Mark& oldest = marks_.front();
  const Mark& newest = marks_.back();
  return (newest.bytes - oldest.bytes) / (static_cast<double>(newest.time_ns - oldest.time_ns) * 1e-9);
}

}  // namespace goheapd::profile
