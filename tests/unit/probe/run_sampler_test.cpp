// The arithmetic that runs in the kernel, and the weights that daemon/model/event.h tells to give to its samples.
#include "bpf/run_sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace goheapd::probe {
namespace {

constexpr double kOne = static_cast<double>(1ULL << wire::kCountdownDigits);

using Random = std::mt19937;
uint32_t draw(Random& random) { return static_cast<uint32_t>(random()); }

TEST(RunSampler, DistancesAreLogarithms) {
  for (const uint32_t random :
       {0U, 1U, 2U, 3U, 1000U, 1U << 16, 1U << 31, 0x7fffffffU, 0xfffffffeU, 0xffffffffU}) {
    const double uniform = (static_cast<double>(random) + 0.5) / 4294967296.0;
    const double distance = static_cast<double>(wire::exponential_distance(random)) / kOne;
    // 24 digits of a binary logarithm.
    EXPECT_NEAR(distance, -std::log(uniform), 2e-7) << random;
  }
}

TEST(RunSampler, DistancesAreExponential) {
  Random random(1);
  constexpr int kDraws = 1'000'000;
  double sum = 0;
  double squares = 0;
  int beyond_two = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double distance = static_cast<double>(wire::exponential_distance(draw(random))) / kOne;
    sum += distance;
    squares += distance * distance;
    beyond_two += distance > 2 ? 1 : 0;
  }
  // Standard errors: 0.001, 0.0045, 0.00034. The bounds are five of them.
  EXPECT_NEAR(sum / kDraws, 1, 0.005);
  EXPECT_NEAR(squares / kDraws, 2, 0.0225);
  EXPECT_NEAR(beyond_two / double{kDraws}, std::exp(-2), 0.0017);
}

TEST(RunSampler, CertainRunsAreTakenAndNothingOverflows) {
  unsigned long long countdown = ~0ULL;
  EXPECT_TRUE(wire::run_is_sampled(&countdown, 1, 0)) << "no mean: everything";
  EXPECT_TRUE(wire::run_is_sampled(&countdown, 1ULL << 47, 1ULL << 20)) << "a terabyte object";
  EXPECT_TRUE(wire::run_is_sampled(&countdown, 32, 1));
  EXPECT_EQ(countdown, ~0ULL) << "a certain run uses up no distance";
  EXPECT_FALSE(wire::run_is_sampled(&countdown, 31, 1));
  EXPECT_FALSE(wire::run_is_sampled(&countdown, 8192, 1ULL << 42))
      << "distances beyond 2^40 bytes sample nothing";
}

// Two sites share the classes of a heap. Runs are planned, cut at random, and sampled at a distance that changes. Both
// sites' bytes must come out right on average, and spread as the theory of such an estimate says.
struct Totals {
  double truth[2] = {0, 0};
  double estimate[2] = {0, 0};
  double variance[2] = {0, 0};
};

void simulate(Random& random, uint64_t slot, int runs, Totals& totals) {
  std::uniform_real_distribution<double> uniform(0, 1);
  unsigned long long countdown = wire::exponential_distance(draw(random));
  for (int i = 0; i < runs; ++i) {
    const size_t site = uniform(random) < 0.2 ? 0 : 1;
    const uint64_t planned = 1 + random() % (8192 / slot);
    // A tenth of the runs is cut by a GC, and site 0 hands out slowly: it loses more of its plan.
    uint64_t used = planned;
    if (uniform(random) < 0.1) used = site == 0 ? 1 + planned / 8 : 1 + random() % planned;
    used = std::min(used, planned);
    const uint64_t mean = i % 1000 < 500 ? 131072 : 16384;
    const double bytes = static_cast<double>(planned * slot);
    const double probability = 1 - std::exp(-bytes / static_cast<double>(mean));
    const double used_bytes = static_cast<double>(used * slot);
    totals.truth[site] += used_bytes;
    totals.variance[site] += used_bytes * used_bytes * (1 - probability) / probability;
    if (!wire::run_is_sampled(&countdown, planned * slot, mean)) continue;
    countdown = wire::exponential_distance(draw(random));
    totals.estimate[site] += used_bytes / probability;
  }
}

TEST(RunSampler, EstimatesAreUnbiasedAndAsPreciseAsTheySay) {
  Random random(7);
  Totals totals;
  for (const uint64_t slot : {8, 48, 512, 8192}) simulate(random, slot, 400'000, totals);
  for (const size_t site : {0, 1}) {
    const double deviation = std::sqrt(totals.variance[site]);
    EXPECT_LT(deviation / totals.truth[site], 0.01) << "too few runs to show anything";
    EXPECT_NEAR(totals.estimate[site], totals.truth[site], 5 * deviation) << site;
  }
}

TEST(RunSampler, TheSpreadIsThatOfAPoissonProcess) {
  Random random(11);
  double squares = 0;
  double variance = 0;
  constexpr int kTrials = 2000;
  for (int trial = 0; trial < kTrials; ++trial) {
    Totals totals;
    simulate(random, 64, 500, totals);
    squares += std::pow(totals.estimate[1] - totals.truth[1], 2);
    variance += totals.variance[1];
  }
  // The mean of 2000 squares of a skewed variable: its relative standard error is below 5 %.
  EXPECT_NEAR(squares / variance, 1, 0.25);
}

TEST(RunSampler, ABurstThinsItselfOut) {
  constexpr unsigned long long kKib = 1024;
  EXPECT_EQ(wire::mean_in_burst(8 * kKib, 128 * kKib, 0), 8 * kKib);
  EXPECT_EQ(wire::mean_in_burst(8 * kKib, 128 * kKib, 1023), 8 * kKib);
  EXPECT_EQ(wire::mean_in_burst(8 * kKib, 128 * kKib, 1024), 16 * kKib);
  EXPECT_EQ(wire::mean_in_burst(8 * kKib, 128 * kKib, 4096), 128 * kKib);
  EXPECT_EQ(wire::mean_in_burst(8 * kKib, 128 * kKib, ~0ULL), 128 * kKib);
  EXPECT_EQ(wire::mean_in_burst(2048 * kKib, 128 * kKib, 5000), 2048 * kKib) << "sparser by order";
  EXPECT_EQ(wire::mean_in_burst(1, 0, 5000), 1) << "none is bounded";
}

}  // namespace
}  // namespace goheapd::probe
