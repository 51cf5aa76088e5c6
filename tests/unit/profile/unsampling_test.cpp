#include "daemon/profile/unsampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

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

// Property: a program that allocates a mix of sizes in any order, sampled the way the runtime does it (an exponential
// countdown in bytes that a sampled object starts again), comes out right on average for each size and in all.
TEST(Unsampling, IsUnbiasedOverRandomMixesOfSizes) {
  std::mt19937_64 random(4711);
  for (int round = 0; round < 20; ++round) {
    const auto rate = static_cast<uint64_t>(std::exp(std::uniform_real_distribution<>(6, 10)(random)));
    std::vector<int64_t> sizes(std::uniform_int_distribution<size_t>(2, 6)(random));
    std::vector<double> weights;
    for (int64_t& size : sizes) {
      size = 8 * static_cast<int64_t>(std::exp(std::uniform_real_distribution<>(0, 9)(random)));
      weights.push_back(std::uniform_real_distribution<>(0.1, 1)(random));
    }
    std::discrete_distribution<size_t> next_size(weights.begin(), weights.end());
    std::exponential_distribution<> next_sample(1 / static_cast<double>(rate));
    std::vector<int64_t> allocated(sizes.size());
    std::vector<int64_t> sampled(sizes.size());
    double countdown = next_sample(random);
    for (int i = 0; i < 100'000; ++i) {
      const size_t which = next_size(random);
      ++allocated[which];
      countdown -= static_cast<double>(sizes[which]);
      if (countdown > 0) continue;
      ++sampled[which];
      countdown = next_sample(random);
    }
    double bytes = 0;
    double true_bytes = 0;
    double variance = 0;
    for (size_t i = 0; i < sizes.size(); ++i) {
      const Scaled scaled = unsample(sampled[i], sampled[i] * sizes[i], rate);
      const double hit = 1 - std::exp(-static_cast<double>(sizes[i]) / static_cast<double>(rate));
      const double sigma = std::sqrt(static_cast<double>(allocated[i]) * hit * (1 - hit)) / hit;
      EXPECT_NEAR(static_cast<double>(scaled.objects), static_cast<double>(allocated[i]), 5 * sigma + 1)
          << "size " << sizes[i] << " rate " << rate;
      bytes += static_cast<double>(scaled.bytes);
      true_bytes += static_cast<double>(allocated[i] * sizes[i]);
      variance += std::pow(sigma * static_cast<double>(sizes[i]), 2);
    }
    EXPECT_NEAR(bytes, true_bytes, 5 * std::sqrt(variance) + 100) << "rate " << rate;
  }
}

}  // namespace
}  // namespace goheapd::profile
