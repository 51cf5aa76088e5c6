#include "daemon/profile/unsampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace goheapd::profile {
namespace {

TEST(Unsampling, EqualsGoForKnownRecord) {
  // 2 objects of 1024 bytes at rate 512 KiB: 2 / (1 - exp(-1/512)) = 1025.0003...
  const Scaled scaled = unsample(2, 2048, 512 * 1024);
  EXPECT_EQ(scaled.objects, 1025);
  EXPECT_EQ(scaled.bytes, 1049600);
}

TEST(Unsampling, RateOneAndZeroCountsAreLeftAlone) {
  EXPECT_EQ(unsample(7, 700, 1).objects, 7);
  EXPECT_EQ(unsample(7, 700, 0).bytes, 700);
  EXPECT_EQ(unsample(0, 0, 524288).objects, 0);
}

TEST(Unsampling, NegativeDifferencesScaleLikePositiveOnes) {
  EXPECT_EQ(unsample(-3, -3 * 48, 4096).objects, -unsample(3, 3 * 48, 4096).objects);
}

// Property: for any size and rate, sampling by a Poisson process and unsampling gives the true count on
// average.
TEST(Unsampling, IsUnbiasedOverRandomSizesAndRates) {
  std::mt19937_64 random(20261121);
  for (int round = 0; round < 40; ++round) {
    const auto size = static_cast<int64_t>(std::exp(std::uniform_real_distribution<>(2, 11)(random)));
    const auto rate = static_cast<uint64_t>(std::exp(std::uniform_real_distribution<>(6, 12)(random)));
    const double hit = 1 - std::exp(-static_cast<double>(size) / static_cast<double>(rate));
    constexpr int kObjects = 400'000;
    const auto sampled = std::binomial_distribution<int64_t>(kObjects, hit)(random);
    const double estimate = static_cast<double>(unsample(sampled, sampled * size, rate).objects);
    const double sigma = std::sqrt(kObjects * hit * (1 - hit)) / hit;
    EXPECT_NEAR(estimate, kObjects, 5 * sigma + 1) << "size " << size << " rate " << rate;
  }
}

}  // namespace
}  // namespace goheapd::profile
