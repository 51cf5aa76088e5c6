#include "daemon/sample_distance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "daemon/span_source.h"

namespace goheapd {
namespace {

constexpr uint64_t kMillisecond = 1'000'000;
constexpr uint64_t kSecond = 1000 * kMillisecond;
constexpr double kRun = 8192;  // bytes that a run hands out

// A program that uses so much of a CPU, allocates so much, and holds what it has allocated up to a limit.
struct Program {
  double cpus = 1;
  double bytes_per_second = 0;
  double most_live_samples = 1e9;
  uint64_t cycle_gap_ns = 100 * kMillisecond;
  double budget = 0.01;
  SampleDistance distance{};
  uint64_t now_ns = kSecond;
  double samples = 0;

  // Looks every 100 ms.
  void run(double seconds) {
    for (int look = 0; look < static_cast<int>(seconds * 10); ++look) {
      now_ns += 100 * kMillisecond;
      samples += bytes_per_second / 10 / std::max(kRun, static_cast<double>(distance.bytes()));
      distance.observe({.time_ns = now_ns,
                        .cpu_ns = static_cast<uint64_t>(static_cast<double>(now_ns) * cpus),
                        .samples = static_cast<uint64_t>(samples),
                        .live_samples = static_cast<size_t>(std::min(samples, most_live_samples)),
                        .cycle_gap_ns = cycle_gap_ns},
                       budget);
    }
  }
};

TEST(SampleDistance, SlowAllocatorsAreSampledDensely) {
  Program program{.bytes_per_second = 1e6, .most_live_samples = 2000};
  program.run(60);
  EXPECT_EQ(program.distance.bytes(), SampleDistance::kDensest);
  // Also those that hardly use the CPU.
  Program idle{.cpus = 0.001, .bytes_per_second = 50'000, .most_live_samples = 2000};
  idle.run(600);
  EXPECT_EQ(idle.distance.bytes(), SampleDistance::kDensest);
}

TEST(SampleDistance, ABurstIsPaidFromCredit) {
  Program program{.bytes_per_second = 100e6, .most_live_samples = 2000};
  program.run(0.3);
  EXPECT_EQ(program.distance.bytes(), SampleDistance::kDensest);
  program.run(20);
  EXPECT_GE(program.distance.bytes(), SampleDistance::kSparsest / 2);
  // It is there again when the program has rested for as long as it takes to save it.
  program.bytes_per_second = 0;
  program.run(10);
  EXPECT_EQ(program.distance.bytes(), SampleDistance::kDensest);
  EXPECT_EQ(program.distance.unpaid_ns(), 0u);
}

TEST(SampleDistance, FastOnesSparselyFromTheSecondLookOn) {
  Program program{.bytes_per_second = 2e9, .most_live_samples = 2000};
  program.run(0.3);
  EXPECT_EQ(program.distance.bytes(), SampleDistance::kSparsest);
  program.run(20);
  EXPECT_EQ(program.distance.bytes(), SampleDistance::kSparsest);
}

TEST(SampleDistance, StackWalksStayWithinTheirShare) {
  for (const double budget : {0.01, 0.001}) {
    for (const double rate : {1e6, 3e6, 10e6, 30e6, 100e6}) {
      Program program{.bytes_per_second = rate, .most_live_samples = 2000, .budget = budget};
      program.run(600);
      const double before = program.samples;
      program.run(60);
      // 2.5 us each, of a quarter of the budget, or as few as can be.
      const double share = (program.samples - before) / 60 * 2.5e-6;
      const double fewest = rate / SampleDistance::kSparsest * 2.5e-6;
      EXPECT_LE(share, std::max(1.05 * 0.25 * budget, 1.01 * fewest)) << rate << " " << budget;
    }
  }
}

// What the governor is told never falls, and is all that samples took in the end.
TEST(SampleDistance, ToldBitByBit) {
  Program program{.bytes_per_second = 50e6, .most_live_samples = 2000};
  double told_before = 0;
  for (int i = 0; i < 100; ++i) {
    program.run(0.1);
    const double told = program.samples * 2500 - static_cast<double>(program.distance.unpaid_ns());
    ASSERT_GE(told, told_before - 2500) << i;
    told_before = told;
  }
  EXPECT_GT(told_before, 0);
}

// A slice of a storm takes so many samples before the kernel has thinned them out, and the next one begins densely again.
TEST(SampleDistance, DenseAgainBetweenSlicesOfAStorm) {
  Program program{.bytes_per_second = 0, .most_live_samples = 2000};
  program.run(1);
  for (int slice = 0; slice < 20; ++slice) {
    program.samples += 6000;
    program.run(0.1);
    EXPECT_GT(program.distance.bytes(), SampleDistance::kDensest);
    EXPECT_LT(program.distance.bytes(), SampleDistance::kSparsest);
    program.run(10);
    EXPECT_EQ(program.distance.bytes(), SampleDistance::kDensest) << slice;
  }
}

// A program that opens so many runs while a slice lasts.
uint64_t samples_of_slice(const SampleDistance& distance, double runs) {
  return static_cast<uint64_t>(runs *
                               (1 - std::exp(-kRun / static_cast<double>(distance.bytes_in_slices()))));
}

TEST(SampleDistance, InSlicesOfASlowProgramAsDenseAsCanBe) {
  SampleDistance distance;
  distance.start_slices();
  EXPECT_EQ(distance.bytes_in_slices(), SampleDistance::kSparsest);
  for (int slice = 0; slice < 2; ++slice) distance.end_slice(samples_of_slice(distance, 17));
  EXPECT_EQ(distance.bytes_in_slices(), SampleDistance::kDensest);
  distance.end_slice(samples_of_slice(distance, 100));
  EXPECT_EQ(distance.bytes_in_slices(), SampleDistance::kDensest);
}

TEST(SampleDistance, InSlicesOfAStormNoMoreThanCanBeLookedUp) {
  for (const double runs : {500.0, 2000.0, 4000.0}) {
    SampleDistance distance;
    distance.start_slices();
    for (int slice = 0; slice < 20; ++slice) {
      EXPECT_LE(samples_of_slice(distance, runs), 330u) << runs << " " << slice;
      distance.end_slice(samples_of_slice(distance, runs));
    }
    EXPECT_GT(samples_of_slice(distance, runs), 100u) << runs;
  }
  // Of the one after a rest, only the first.
  SampleDistance distance;
  for (int slice = 0; slice < 5; ++slice) distance.end_slice(0);
  EXPECT_EQ(distance.bytes_in_slices(), SampleDistance::kDensest);
  distance.end_slice(5000);
  EXPECT_EQ(distance.bytes_in_slices(), SampleDistance::kSparsest);
}

TEST(SampleDistance, InSlicesNeverDenserThanWhileSampledAllTheTime) {
  SpanSource source(nullptr);
  for (int slice = 0; slice < 5; ++slice) source.distance().end_slice(0);
  EXPECT_EQ(source.mean_distance(probe::Level::slices), SampleDistance::kDensest);
  source.distance().observe({.time_ns = kSecond, .cpu_ns = kSecond}, 0.01);
  source.distance().observe({.time_ns = 2 * kSecond, .cpu_ns = 2 * kSecond, .samples = 1u << 20}, 0.01);
  EXPECT_EQ(source.mean_distance(probe::Level::sampled), SampleDistance::kSparsest);
  EXPECT_EQ(source.mean_distance(probe::Level::slices), SampleDistance::kSparsest);
}

TEST(SampleDistance, LargeHeapsSparsely) {
  Program program{.bytes_per_second = 5e6};
  program.run(3600);
  EXPECT_EQ(program.distance.bytes(), SampleDistance::kSparsest);
  // 18 GB at 128 KiB are 137,000; the dense ones of the beginning are few beside them.
  EXPECT_LT(program.samples, 160'000);
}

TEST(SampleDistance, FewObjectsWhereCyclesAreShort) {
  Program program{.bytes_per_second = 2e6, .most_live_samples = 1000, .cycle_gap_ns = 3 * kMillisecond};
  program.run(10);
  EXPECT_EQ(program.distance.bytes(), SampleDistance::kSparsest);
  program.cycle_gap_ns = 0;
  program.run(10);
  EXPECT_EQ(program.distance.bytes(), SampleDistance::kDensest);
}

}  // namespace
}  // namespace goheapd
