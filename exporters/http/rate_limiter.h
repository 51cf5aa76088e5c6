#pragma once

#include <chrono>
#include <mutex>

#include "exporters/http/web_config.h"

namespace goheapd::exporters::http {

// A token bucket for all clients together, as the exporter-toolkit has it. Thread safe.
class RateLimiter {
 public:
  using Time = std::chrono::steady_clock::time_point;
  // Takes a token; false: there is none. Another limit than at the last call starts with a full bucket.
  bool allow(const RateLimit& limit, Time now);

 private:
  std::mutex mutex_;  // guards the rest
  RateLimit limit_;
  Time full_at_;  // when the bucket will be full again, if nothing is taken
};

}  // namespace goheapd::exporters::http
