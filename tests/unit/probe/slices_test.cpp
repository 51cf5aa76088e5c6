#include "daemon/probe/slices.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace goheapd::probe {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr double kBudget = 0.01;

// A target on one CPU of which probes take `share` while they are in.
struct Target {
  SliceSchedule slices;
  CostSample now{};
  double recorded_ns = 0;
  double stood_for_ns = 0;
  std::vector<uint64_t> begins{};

  void run(double seconds, double share, double busy = 1) {
    constexpr uint64_t kTick = 10'000'000;
    const uint64_t end = now.time_ns + static_cast<uint64_t>(seconds * 1e9);
    while (now.time_ns < end) {
      now.time_ns += kTick;
      now.cpu_ns += static_cast<uint64_t>(busy * kTick);
      if (slices.active()) {
        now.probe_ns += static_cast<uint64_t>(share * busy * kTick);
        recorded_ns += kTick;
        stood_for_ns += kTick * slices.weight();
      }
      if (!slices.due(now.time_ns)) continue;
      if (slices.active()) {
        slices.end(now, now.time_ns);
      } else {
        slices.begin(now, now.time_ns);
        begins.push_back(now.time_ns);
      }
    }
  }
};

TEST(Slices, KeepToHalfTheBudgetInTheLongRun) {
  for (const double share : {0.15, 0.3, 0.6}) {
    for (const double busy : {1.0, 0.1}) {
      Target target;
      target.slices.start(0, kBudget, 0.2, 1);
      target.run(3000, share, busy);
      const double cost = static_cast<double>(target.now.probe_ns) / static_cast<double>(target.now.cpu_ns);
      EXPECT_LT(cost, 0.6 * kBudget) << share << " " << busy;
      EXPECT_GT(cost, 0.4 * kBudget) << share << " " << busy;
      EXPECT_NEAR(target.slices.sampled_share(target.now.time_ns),
                  target.recorded_ns / static_cast<double>(target.now.time_ns), 0.001);
      // All but the gap that has not ended yet.
      EXPECT_NEAR(target.stood_for_ns, static_cast<double>(target.now.time_ns),
                  1.5 * SliceSchedule::kLongestGapNs);
    }
  }
}

TEST(Slices, ComeAtDifferentIntervals) {
  Target target;
  target.slices.start(0, kBudget, 0.2, 7);
  target.run(1000, 0.2);
  std::vector<uint64_t> gaps;
  for (size_t i = 1; i < target.begins.size(); ++i) gaps.push_back(target.begins[i] - target.begins[i - 1]);
  ASSERT_GT(gaps.size(), 100u);
  const auto [shortest, longest] = std::minmax_element(gaps.begin(), gaps.end());
  EXPECT_GT(static_cast<double>(*longest), 1.5 * static_cast<double>(*shortest));
}

TEST(Slices, CheapOnesAreStillFewAndDearOnesStillCome) {
  Target cheap;
  cheap.slices.start(0, kBudget, 0, 1);
  cheap.run(100, 0);
  EXPECT_LT(cheap.slices.sampled_share(cheap.now.time_ns), 0.3);
  Target dear;
  dear.slices.start(0, 1e-6, 1, 1);
  dear.run(1000, 1);
  EXPECT_GE(dear.begins.size(), 8u);  // one a minute
}

TEST(Slices, ATargetThatSleptIsLookedAtAgain) {
  SliceSchedule slices;
  slices.start(0, kBudget, 0.2, 1);
  EXPECT_FALSE(slices.due(kSecond / 10));
  slices.begin({.time_ns = 10 * kSecond}, 10 * kSecond);
  EXPECT_TRUE(slices.active());
  EXPECT_FALSE(slices.due(10 * kSecond + SliceSchedule::kSliceNs - 1));
  slices.end({.time_ns = 10 * kSecond + SliceSchedule::kSliceNs}, 10 * kSecond + SliceSchedule::kSliceNs);
  EXPECT_FALSE(slices.active());
  EXPECT_TRUE(slices.due(10 * kSecond + 2 * SliceSchedule::kLongestGapNs));
}

}  // namespace
}  // namespace goheapd::probe
