#include "exporters/http/rate_limiter.h"

#include <algorithm>

namespace goheapd::exporters::http {

bool RateLimiter::allow(const RateLimit& limit, Time now) {
  if (limit.interval.count() == 0) return true;
  const std::lock_guard lock(mutex_);
  if (!(limit_ == limit)) {
    limit_ = limit;
    full_at_ = now;
  }
  // Each token that is missing puts the moment off by one interval. In seconds, since intervals may be years.
  const std::chrono::duration<double> missing = std::max(full_at_, now) - now;
  const std::chrono::duration<double> interval = limit.interval;
  if (missing / interval + 1 > static_cast<double>(limit.burst)) return false;
  full_at_ = std::max(full_at_, now) + std::chrono::duration_cast<Time::duration>(limit.interval);
  return true;
}

}  // namespace goheapd::exporters::http
