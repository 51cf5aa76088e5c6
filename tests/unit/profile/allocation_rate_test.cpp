#include "daemon/profile/allocation_rate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace goheapd::profile {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;

TEST(AllocationRate, FollowsAFastAllocatorWithinSeconds) {
  AllocationRate rate;
  double bytes = 0;
  uint64_t samples = 0;
  for (uint64_t second = 1; second <= 20; ++second) {
    const uint64_t made = second <= 10 ? 200 : 400;
    samples += made;
    bytes += static_cast<double>(made) * 1e6;
    rate.observe(second * kSecond, bytes, samples);
  }
  EXPECT_DOUBLE_EQ(rate.bytes_per_second(), 400e6);
}

TEST(AllocationRate, OfASlowAllocatorIsOverAMinute) {
  // 1 MiB/s, sampled once per 512 KiB at random: two samples a second.
  std::mt19937 random(1);
  std::poisson_distribution<uint64_t> made(2);
  AllocationRate rate;
  uint64_t samples = 0;
  double worst = 0;
  for (uint64_t second = 1; second <= 600; ++second) {
    samples += made(random);
    rate.observe(second * kSecond, static_cast<double>(samples) * 524288, samples);
    if (second > 60) worst = std::max(worst, std::abs(rate.bytes_per_second() / 1048576 - 1));
  }
  // In windows of 2 s it would be off by 100 % every now and then.
  EXPECT_LT(worst, 0.6);
}

TEST(AllocationRate, OfAProgramThatStopsFallsToNothing) {
  AllocationRate rate;
  for (uint64_t second = 1; second <= 10; ++second)
    rate.observe(second * kSecond, static_cast<double>(second) * 1e6, second);
  for (uint64_t second = 11; second <= 80; ++second) rate.observe(second * kSecond, 10e6, 10);
  EXPECT_EQ(rate.bytes_per_second(), 0);
}

TEST(AllocationRate, CountersThatFallBeginAnew) {
  AllocationRate rate;
  EXPECT_EQ(rate.bytes_per_second(), 0);
  rate.observe(1 * kSecond, 5e9, 100);
  EXPECT_EQ(rate.bytes_per_second(), 0);
  rate.observe(3 * kSecond, 1e6, 1);
  EXPECT_EQ(rate.bytes_per_second(), 0);
  rate.observe(4 * kSecond, 9e6, 2);  // too soon
  EXPECT_EQ(rate.bytes_per_second(), 0);
  rate.observe(5 * kSecond, 3e6, 3);
  EXPECT_DOUBLE_EQ(rate.bytes_per_second(), 1e6);
}

}  // namespace
}  // namespace goheapd::profile
