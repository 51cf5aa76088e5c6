#include "exporters/http/rate_limiter.h"

#include <gtest/gtest.h>

namespace goheapd::exporters::http {
namespace {

using namespace std::chrono_literals;
const RateLimiter::Time kStart = RateLimiter::Time(1000s);

TEST(RateLimiter, LetsABurstPassAndThenOnePerInterval) {
  RateLimiter limiter;
  const RateLimit limit{100ms, 3};
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(limiter.allow(limit, kStart)) << i;
  EXPECT_FALSE(limiter.allow(limit, kStart));
  EXPECT_FALSE(limiter.allow(limit, kStart + 99ms));
  EXPECT_TRUE(limiter.allow(limit, kStart + 100ms));
  EXPECT_FALSE(limiter.allow(limit, kStart + 101ms));
  // Long after, the bucket is full, and not fuller than that.
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(limiter.allow(limit, kStart + 1h)) << i;
  EXPECT_FALSE(limiter.allow(limit, kStart + 1h));
}

TEST(RateLimiter, TakesAnyIntervalAndBurst) {
  RateLimiter limiter;
  EXPECT_TRUE(limiter.allow({std::chrono::nanoseconds::max() / 4, 1}, kStart));
  EXPECT_FALSE(limiter.allow({std::chrono::nanoseconds::max() / 4, 1}, kStart + 1h));
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(limiter.allow({1ns, INT64_MAX}, kStart));
}

TEST(RateLimiter, HeedsAChangedLimit) {
  RateLimiter limiter;
  EXPECT_TRUE(limiter.allow({1h, 1}, kStart));
  EXPECT_FALSE(limiter.allow({1h, 1}, kStart));
  EXPECT_TRUE(limiter.allow({1h, 2}, kStart));
  EXPECT_TRUE(limiter.allow({}, kStart));
}

}  // namespace
}  // namespace goheapd::exporters::http
