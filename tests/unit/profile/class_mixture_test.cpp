#include "daemon/profile/class_mixture.h"

#include <gtest/gtest.h>

#include <random>

namespace goheapd::profile {
namespace {

constexpr OriginId kA = 1;
constexpr OriginId kB = 2;
constexpr OriginId kC = 3;

double sum_of(const OriginAmounts& amounts) {
  double sum = 0;
  for (const auto& [origin, amount] : amounts) sum += amount;
  return sum;
}

TEST(ClassMixture, WhoeverOpensTurnsAreShared) {
  ClassMixture mixture;
  mixture.add({{kA, 100}, {kB, 300}}, 1);
  mixture.add({{kA, 50}, {kB, 150}}, 2);
  for (const OriginAmounts& opened : {OriginAmounts{{kA, 800}}, OriginAmounts{{kB, 800}}}) {
    const OriginAmounts divided = mixture.divide(opened);
    EXPECT_NEAR(divided.at(kA), 200, 1e-9);
    EXPECT_NEAR(divided.at(kB), 600, 1e-9);
  }
  EXPECT_NEAR(mixture.own_part(kA), 0.25, 1e-9);
  EXPECT_EQ(mixture.time_ns(), 2u);
}

TEST(ClassMixture, StacksOfDifferentTimesGetNothingOfEachOther) {
  ClassMixture mixture;
  mixture.add({{kA, 400}}, 1);
  mixture.add({{kB, 100}, {kC, 300}}, 2);
  const OriginAmounts divided = mixture.divide({{kA, 10}, {kB, 1000}});
  EXPECT_NEAR(divided.at(kA), 10, 1e-9);
  EXPECT_NEAR(divided.at(kB), 250, 1e-9);
  EXPECT_NEAR(divided.at(kC), 750, 1e-9);
}

// Where openers already have what windows have counted, whatever the windows look like, dividing changes nothing.
TEST(ClassMixture, RightOpenersStayAsTheyAre) {
  std::mt19937 random(7);
  ClassMixture mixture;
  OriginAmounts opened;
  double weight = 1;  // as later windows make the earlier ones fade
  std::vector<OriginAmounts> windows(8);
  for (OriginAmounts& window : windows) {
    for (OriginId origin = 0; origin < 20; ++origin) {
      if (random() % 3 == 0) window[origin] = static_cast<double>(20 + random() % 500);
    }
    mixture.add(window, 1);
  }
  for (auto window = windows.rbegin(); window != windows.rend(); ++window, weight *= 0.9) {
    for (const auto& [origin, count] : *window) opened[origin] += weight * count;
  }
  const OriginAmounts divided = mixture.divide(opened);
  EXPECT_NEAR(sum_of(divided), sum_of(opened), 1e-6);
  for (const auto& [origin, amount] : opened) EXPECT_NEAR(divided.at(origin), amount, 1e-6) << origin;
}

TEST(ClassMixture, WhatIsUnknownStaysWithItsOpener) {
  ClassMixture mixture;
  EXPECT_FALSE(mixture.is_measured());
  mixture.add({{kA, 200}, {kB, ClassMixture::kMinSeen - 1}}, 1);
  EXPECT_FALSE(mixture.is_measured());
  EXPECT_FALSE(mixture.knows(kB));
  EXPECT_EQ(mixture.divide({{kB, 100}, {kC, 7}}), (OriginAmounts{{kB, 100}, {kC, 7}}));
  EXPECT_EQ(mixture.own_part(kC), 1);
  mixture.add({{kA, 200}}, 2);
  EXPECT_TRUE(mixture.is_measured());
}

TEST(ClassMixture, IsConfirmedByTheSameCompanyOnly) {
  ClassMixture mixture;
  mixture.add({{kA, 500}, {kB, 500}}, 1);
  EXPECT_FALSE(mixture.is_confirmed());
  mixture.add({{kA, 520}, {kB, 480}}, 2);
  EXPECT_TRUE(mixture.is_confirmed());
  // Others that nobody has seen say nothing of these.
  mixture.add({{kC, 1000}}, 3);
  EXPECT_TRUE(mixture.is_confirmed());
  mixture.add({{kC, 990}}, 4);
  EXPECT_TRUE(mixture.is_confirmed());
  mixture.add({{kA, 500}, {kC, 500}}, 5);
  EXPECT_FALSE(mixture.is_confirmed());
}

// Shares of many stacks in few objects differ by chance, which refutes nothing.
TEST(ClassMixture, ChanceRefutesNothing) {
  std::mt19937 random(3);
  for (const size_t stacks : {2u, 5u, 20u}) {
    for (const int objects : {40, 300, 3000}) {
      ClassMixture mixture;
      int refuted = 0;
      for (int i = 0; i < 100; ++i) {
        OriginAmounts window;
        for (int object = 0; object < objects; ++object)
          window[static_cast<OriginId>(random() % stacks)] += 1;
        mixture.add(window, static_cast<uint64_t>(i));
        if (i > 1 && !mixture.is_confirmed()) ++refuted;
      }
      EXPECT_LE(refuted, 10) << stacks << " stacks, " << objects << " objects";
    }
  }
}

// Of five windows with two objects each, none tells who works beside whom; together they do.
TEST(ClassMixture, SmallWindowsAreJoined) {
  ClassMixture mixture;
  for (uint64_t i = 0; i < 200; ++i) mixture.add({{i % 2 == 0 ? kA : kB, 2}}, i);
  EXPECT_TRUE(mixture.is_measured());
  EXPECT_NEAR(mixture.divide({{kA, 100}}).at(kB), 50, 10);
}

TEST(ClassMixture, TellsHowMuchAWindowDiffers) {
  ClassMixture mixture;
  EXPECT_EQ(mixture.add({{kA, 100}}, 1), 1);
  EXPECT_EQ(mixture.add({{kA, 100}}, 2), 0);
  EXPECT_NEAR(mixture.add({{kA, 75}, {kC, 25}}, 3), 0.25, 1e-9);
  EXPECT_NEAR(mixture.add({{kB, 10}}, 4), 1, 1e-9);
}

// A program that goes round in its phases for hours: each is as well known at the end as at the beginning.
TEST(ClassMixture, PeriodsOfTheSameSharesAreOneWindow) {
  ClassMixture mixture;
  for (uint64_t i = 0; i < 50 * ClassMixture::kMaxWindows; ++i) {
    if (i % 10 < 5)
      mixture.add_period({{kA, 500 + static_cast<double>(i % 3)}, {kB, 1500}}, i, 256);
    else
      mixture.add_period({{kC, 1000}}, i, 256);
  }
  EXPECT_TRUE(mixture.is_confirmed());
  EXPECT_EQ(mixture.time_ns(), 50 * ClassMixture::kMaxWindows - 1);
  const OriginAmounts divided = mixture.divide({{kA, 100}, {kC, 100}});
  EXPECT_NEAR(divided.at(kA), 25, 1);
  EXPECT_NEAR(divided.at(kB), 75, 1);
  EXPECT_NEAR(divided.at(kC), 100, 1e-9);
}

// A slow program makes an object in each period, and only all that fill a run tell who shared it.
TEST(ClassMixture, PeriodsWaitForEnoughToFillARun) {
  ClassMixture mixture;
  for (uint64_t i = 0; i < 500; ++i) {
    mixture.add_period({{i % 2 == 0 ? kA : kB, 1}}, i, 250);
    EXPECT_EQ(mixture.is_measured(), i == 499) << i;
  }
  EXPECT_NEAR(mixture.divide({{kA, 100}}).at(kB), 50, 1e-9);
  EXPECT_FALSE(mixture.is_confirmed());
  for (uint64_t i = 0; i < 500; ++i) mixture.add_period({{i % 2 == 0 ? kA : kB, 1}}, i, 250);
  EXPECT_TRUE(mixture.is_confirmed());
  for (uint64_t i = 0; i < 500; ++i) mixture.add_period({{i % 5 == 0 ? kA : kB, 1}}, i, 250);
  EXPECT_FALSE(mixture.is_confirmed());
}

TEST(ClassMixture, OldWindowsAreForgotten) {
  ClassMixture mixture;
  mixture.add({{kA, 1000}, {kB, 1000}}, 1);
  for (size_t i = 0; i < ClassMixture::kMaxWindows; ++i) mixture.add({{kB, 100}}, 2);
  EXPECT_FALSE(mixture.knows(kA));
  EXPECT_NEAR(mixture.divide({{kB, 100}}).at(kB), 100, 1e-9);
}

}  // namespace
}  // namespace goheapd::profile
