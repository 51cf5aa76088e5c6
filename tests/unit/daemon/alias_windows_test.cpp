#include "daemon/alias_windows.h"

#include <gtest/gtest.h>

#include <vector>

namespace goheapd {
namespace {

constexpr uint64_t kMillisecond = 1'000'000;
constexpr uint64_t kSecond = 1000 * kMillisecond;

// A program that uses so much of a CPU and allocates so much, and whoever looks at it.
class Program {
 public:
  Program(double cpus, double allocations_per_second, double budget = 0.01)
      : cpus_(cpus), rate_(allocations_per_second), windows_(budget, 1000, 1000) {}

  // Looks until a window is wanted; nullopt: none within so long.
  std::optional<std::chrono::nanoseconds> wait(uint64_t longest_ns, bool wants_windows = true) {
    for (const uint64_t end = now_ + longest_ns; now_ < end; now_ += kSecond / 10) {
      if (!windows_.look_due(now_)) continue;
      if (!wants_windows) {
        windows_.not_wanted(now_);
        continue;
      }
      const double seconds = static_cast<double>(now_) * 1e-9;
      const auto duration = windows_.look(now_, static_cast<uint64_t>(seconds * cpus_ * 1e9),
                                          static_cast<uint64_t>(seconds * rate_));
      if (duration) return duration;
    }
    return std::nullopt;
  }

  double cpus_;
  double rate_;
  AliasWindows windows_;
  uint64_t now_ = kSecond;
};

TEST(AliasWindows, NoneWhereNoClassIsShared) {
  Program program(1, 1e6);
  EXPECT_FALSE(program.wait(60 * kSecond, false));
  EXPECT_TRUE(program.wait(2 * kSecond));
}

TEST(AliasWindows, SlowAllocatorsAreWatchedForLonger) {
  EXPECT_EQ(Program(1, 5e6).wait(2 * kSecond), std::chrono::milliseconds(5));
  EXPECT_EQ(Program(1, 100'000).wait(2 * kSecond), std::chrono::milliseconds(40));
  EXPECT_EQ(Program(1, 100).wait(2 * kSecond), std::chrono::milliseconds(200));
}

TEST(AliasWindows, WhatAWindowTookIsPaidBackFromAQuarterOfTheBudget) {
  Program program(1, 5e6);
  ASSERT_TRUE(program.wait(2 * kSecond));
  const uint64_t cost = 60 * kMillisecond;
  program.windows_.closed(program.now_, cost, true, true);
  EXPECT_EQ(program.windows_.unpaid_ns(program.now_), cost);
  EXPECT_NEAR(static_cast<double>(program.windows_.unpaid_ns(program.now_ + 12 * kSecond)), cost / 2.0,
              cost / 50.0);
  EXPECT_EQ(program.windows_.unpaid_ns(program.now_ + 25 * kSecond), 0u);
  const uint64_t closed = program.now_;
  ASSERT_TRUE(program.wait(60 * kSecond));
  EXPECT_GE(program.now_, closed + 24 * kSecond);
  EXPECT_LE(program.now_, closed + 26 * kSecond);
}

TEST(AliasWindows, NeverBeyondTheBudget) {
  // It spends all its time in traps for 45 ms: more than a thousandth of 10 s.
  Program dear(1, 5e6, 0.001);
  EXPECT_FALSE(dear.wait(600 * kSecond));
  EXPECT_TRUE(dear.windows_.too_dear());
  dear.windows_.set_budget(0.1);
  EXPECT_TRUE(dear.wait(2 * kSecond));
  EXPECT_FALSE(dear.windows_.too_dear());
  Program cheap(1, 10'000, 0.001);
  EXPECT_TRUE(cheap.wait(2 * kSecond));
  EXPECT_FALSE(cheap.windows_.too_dear());
  // One that allocates in a tenth of its time on a CPU has a tenth of the budget.
  EXPECT_FALSE(Program(0.1, 500'000).wait(600 * kSecond));
}

TEST(AliasWindows, SeldomWhileTheyAgree) {
  Program program(1, 10'000);
  std::vector<uint64_t> rests;
  for (const bool agrees : {true, true, true, true, true, true, false, true}) {
    const uint64_t before = program.now_;
    ASSERT_TRUE(program.wait(1000 * kSecond));
    rests.push_back((program.now_ - before + kSecond / 2) / kSecond);
    program.windows_.closed(program.now_, 0, agrees, true);
  }
  EXPECT_EQ(rests, (std::vector<uint64_t>{1, 10, 20, 40, 80, 160, 160, 10}));
}

TEST(AliasWindows, SoonAgainUntilClassesAreMeasured) {
  Program program(1, 10'000);
  ASSERT_TRUE(program.wait(2 * kSecond));
  for (const uint64_t rest : {1, 2, 4, 8, 10}) {
    program.windows_.closed(program.now_, 0, false, false);
    EXPECT_FALSE(program.wait(rest * kSecond - kSecond / 2)) << rest;
    EXPECT_TRUE(program.wait(2 * kSecond)) << rest;
  }
}

TEST(AliasWindows, LongAfterOneThatFailed) {
  Program program(1, 10'000);
  ASSERT_TRUE(program.wait(2 * kSecond));
  program.windows_.failed(program.now_);
  EXPECT_FALSE(program.wait(59 * kSecond));
  EXPECT_TRUE(program.wait(3 * kSecond));
}

}  // namespace
}  // namespace goheapd
