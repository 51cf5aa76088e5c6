#include "daemon/probe/slices.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "daemon/probe/allowance.h"

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
  uint64_t longest_ns = 0;
  double others = 0;  // share that probes take which stay in

  void run(double seconds, double share, double busy = 1) {
    constexpr uint64_t kTick = 10'000'000;
    const uint64_t end = now.time_ns + static_cast<uint64_t>(seconds * 1e9);
    while (now.time_ns < end) {
      now.time_ns += kTick;
      now.cpu_ns += static_cast<uint64_t>(busy * kTick);
      now.probe_ns += static_cast<uint64_t>(others * busy * kTick);
      if (slices.active()) {
        now.probe_ns += static_cast<uint64_t>(share * busy * kTick);
        recorded_ns += kTick;
        stood_for_ns += kTick * slices.weight();
      }
      slices.look(now);
      if (!slices.due(now.time_ns)) continue;
      if (slices.active()) {
        longest_ns = std::max(longest_ns, now.time_ns - begins.back());
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
    for (const double busy : {1.0, 0.25}) {
      Target target;
      target.slices.start({}, kBudget, 0.2, 1);
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

// A program that works for 2 of 20 seconds: what a slice takes in them is paid by them alone.
TEST(Slices, OfAProgramThatWorksInBurstsTakeNoMore) {
  for (const double pause : {0.5, 6.0, 18.0}) {
    for (const double work : {0.5, 2.0}) {
      Target target;
      target.slices.start({}, kBudget, 0.2, 1);
      for (double time = 0; time < 6000; time += work + pause) {
        target.run(work, 0.5);
        target.run(pause, 0.5, 0.001);
      }
      // It runs as much as gives it this share, as allowance.h says.
      const double allowed = allowed_share(kBudget, work / (work + pause));
      const double cost = static_cast<double>(target.now.probe_ns) / static_cast<double>(target.now.cpu_ns);
      EXPECT_LT(cost, 0.62 * allowed) << work << " " << pause;
      EXPECT_GT(cost, 0.25 * allowed) << work << " " << pause;
      EXPECT_NEAR(target.stood_for_ns, static_cast<double>(target.now.time_ns),
                  1.5 * SliceSchedule::kLongestGapNs);
    }
  }
}

// What probes take that tell of garbage collections all the time is no less the target's cost.
TEST(Slices, OtherProbesLeaveThemLess) {
  for (const double others : {0.003, 0.006, 0.008}) {
    Target target;
    target.others = others;
    target.slices.start({}, kBudget, 0.2, 1);
    target.run(6000, 0.5);
    const double cost = static_cast<double>(target.now.probe_ns) / static_cast<double>(target.now.cpu_ns);
    EXPECT_LT(cost, 0.95 * kBudget) << others;
    EXPECT_GT(cost, others + 0.0005) << others;
  }
}

// One that has slept for long has not saved up for many slices.
TEST(Slices, AStormAfterALongSleepPaysForItself) {
  Target target;
  target.slices.start({}, kBudget, 0.2, 1);
  target.run(600, 0.5, 0);
  const CostSample before = target.now;
  target.run(300, 0.5);
  const auto cost = static_cast<double>(target.now.probe_ns - before.probe_ns);
  EXPECT_LT(cost / static_cast<double>(target.now.cpu_ns - before.cpu_ns), 0.6 * kBudget);
}

TEST(Slices, ComeAtDifferentIntervals) {
  Target target;
  target.slices.start({}, kBudget, 0.2, 7);
  target.run(1000, 0.2);
  std::vector<uint64_t> gaps;
  for (size_t i = 1; i < target.begins.size(); ++i) gaps.push_back(target.begins[i] - target.begins[i - 1]);
  ASSERT_GT(gaps.size(), 100u);
  const auto [shortest, longest] = std::minmax_element(gaps.begin(), gaps.end());
  EXPECT_GT(static_cast<double>(*longest), 1.5 * static_cast<double>(*shortest));
}

TEST(Slices, CheapOnesAreStillFewAndDearOnesStillCome) {
  Target cheap;
  cheap.slices.start({}, kBudget, 0, 1);
  cheap.run(100, 0);
  EXPECT_LT(cheap.slices.sampled_share(cheap.now.time_ns), 0.3);
  Target dear;
  dear.slices.start({}, 1e-6, 1, 1);
  dear.run(1000, 1);
  EXPECT_GE(dear.begins.size(), 8u);  // one a minute
}

// Of a program that uses two percent of a CPU, where a fifth to a twelfth of that is nothing that anybody could feel.
TEST(Slices, OfASmallProgramAreLong) {
  for (const double share : {0.05, 0.085, 0.2}) {
    Target target;
    target.slices.start({}, kBudget, 0.2 * 0.02, 1);
    target.run(3000, share, 0.02);
    const double cost = static_cast<double>(target.now.probe_ns) / static_cast<double>(target.now.cpu_ns);
    // Half of four percent, as far as slices may be long.
    const double sampled = target.slices.sampled_share(target.now.time_ns);
    EXPECT_LT(cost, 0.022) << share;
    EXPECT_GT(sampled, std::min(0.25, 0.8 * 0.02 / share)) << share;
    EXPECT_NEAR(target.stood_for_ns, static_cast<double>(target.now.time_ns),
                1.5 * SliceSchedule::kLongestGapNs);
  }
}

// What was small may begin to storm in the middle of a long slice.
TEST(Slices, LongOnesEndWhenTheyTakeMuch) {
  Target target;
  target.slices.start({}, kBudget, 0.2 * 0.02, 1);
  target.run(60, 0.05, 0.02);
  ASSERT_EQ(target.slices.slice_ns(), SliceSchedule::kLongestSliceNs);
  while (target.slices.active()) target.run(0.01, 0.05, 0.02);
  target.longest_ns = 0;
  while (!target.slices.active()) target.run(0.01, 0.05, 0.02);
  target.run(0.05, 0.05, 0.02);
  const uint64_t before = target.now.probe_ns;
  while (target.slices.active()) target.run(0.01, 0.5, 1);
  EXPECT_LE(target.longest_ns, 150'000'000u);
  EXPECT_LE(target.now.probe_ns - before, 60'000'000u);
  // The next one pays for that, and is short.
  EXPECT_EQ(target.slices.slice_ns(), SliceSchedule::kShortestSliceNs);
  EXPECT_GT(target.slices.next_ns() - target.now.time_ns, 2 * SliceSchedule::kShortestGapNs);
  target.run(1000, 0.5, 1);
  EXPECT_LE(target.longest_ns, 150'000'000u);
  EXPECT_NEAR(target.stood_for_ns, static_cast<double>(target.now.time_ns),
              1.5 * SliceSchedule::kLongestGapNs);
}

TEST(Slices, ATargetThatSleptIsLookedAtAgain) {
  SliceSchedule slices;
  slices.start({}, kBudget, 0.2 * 0.02, 1);
  EXPECT_FALSE(slices.due(kSecond / 10));
  slices.begin({.time_ns = 10 * kSecond}, 10 * kSecond);
  EXPECT_TRUE(slices.active());
  EXPECT_FALSE(slices.due(10 * kSecond + SliceSchedule::kShortestSliceNs - 1));
  slices.end({.time_ns = 10 * kSecond + SliceSchedule::kShortestSliceNs},
             10 * kSecond + SliceSchedule::kShortestSliceNs);
  EXPECT_FALSE(slices.active());
  EXPECT_TRUE(slices.due(10 * kSecond + 2 * SliceSchedule::kLongestGapNs));
}

}  // namespace
}  // namespace goheapd::probe
