#include "daemon/profile/survival.h"

#include <gtest/gtest.h>

namespace goheapd::profile {
namespace {

TEST(Survival, AgesAreSingleThenDouble) {
  for (uint32_t age = 0; age < kSingleAges; ++age) EXPECT_EQ(age_class(age), age);
  EXPECT_EQ(age_class(8), 8u);
  EXPECT_EQ(age_class(15), 8u);
  EXPECT_EQ(age_class(16), 9u);
  EXPECT_EQ(age_class(1'000'000), kAgeClasses - 1);
  uint32_t first = 0;  // of the class
  for (size_t i = 0; i < kAgeClasses - 1; ++i) {
    EXPECT_EQ(age_class(first), i);
    first += static_cast<uint32_t>(cycles_of(i));
    EXPECT_EQ(age_class(first - 1), i);
    EXPECT_EQ(age_class(first), i + 1);
  }
}

TEST(Survival, MultipliesWhatCameThroughEachCycle) {
  Survival survival;
  EXPECT_FALSE(survival.alive());
  for (int i = 0; i < 20; ++i) survival.note(0, 100, i % 2 == 0);
  for (int i = 0; i < 10; ++i) survival.note(1, 100, i < 2);
  const auto alive = survival.alive();
  ASSERT_TRUE(alive);
  EXPECT_NEAR((*alive)[0], 0.5, 1e-9);
  EXPECT_NEAR((*alive)[1], 0.5 * 0.8, 1e-9);
  EXPECT_LT((*alive)[2], (*alive)[1]);
}

// A batch that holds what it makes for three cycles and then drops all of it.
TEST(Survival, KnowsWhatDiesInOneCycle) {
  Survival survival;
  for (int i = 0; i < 20; ++i) {
    for (uint32_t age = 0; age < 3; ++age) survival.note(age, 100, false);
    survival.note(3, 100, true);
  }
  const auto alive = survival.alive();
  ASSERT_TRUE(alive);
  EXPECT_EQ((*alive)[2], 1);
  EXPECT_EQ((*alive)[3], 0);
}

TEST(Survival, FollowsAProgramThatChanges) {
  Survival survival;
  for (int i = 0; i < 1000; ++i) survival.note(0, 100, false);
  for (int i = 0; i < 1000; ++i) survival.note(0, 100, true);
  EXPECT_LT((*survival.alive())[0], 0.1);
}

TEST(AgeHistogram, BytesGrowOldWithTheCycles) {
  AgeHistogram ages;
  ages.add(10, 100);
  EXPECT_EQ(ages.sum(), 0);  // no cycle has judged it
  ages.advance(12);
  EXPECT_EQ(ages.bytes()[0], 100);
  ages.add(12, 40);
  ages.advance(14);
  EXPECT_EQ(ages.bytes()[0], 40);
  EXPECT_EQ(ages.bytes()[1], 100);
  ages.advance(14);
  ages.advance(16);
  EXPECT_EQ(ages.bytes()[0], 0);
  EXPECT_EQ(ages.bytes()[1], 40);
  EXPECT_EQ(ages.bytes()[2], 100);
  ages.advance(1'000'000);
  EXPECT_NEAR(ages.bytes()[kAgeClasses - 1], 140, 60);
  EXPECT_NEAR(ages.sum(), 140, 1e-9);
}

TEST(Survival, SaysNothingOfAFew) {
  Survival survival;
  for (int i = 0; i < 7; ++i) survival.note(0, 100, false);
  EXPECT_FALSE(survival.alive());
  survival.note(0, 100, false);
  EXPECT_TRUE(survival.alive());
}

TEST(Survival, CountsMomentsNotSamples) {
  Survival survival;
  for (int i = 0; i < 40; ++i) survival.note(0, 100, true, i % 20 == 0);
  EXPECT_EQ(survival.moments(), 2);
  Survival other;
  for (int i = 0; i < 1000; ++i) other.note(0, 100, true);
  EXPECT_LT(other.moments(), 256);  // what is remembered
  survival.add(other);
  EXPECT_GT(survival.moments(), 100);
}

TEST(BelievedAlive, OnlyWhatChanceDoesNotExplain) {
  // A tenth of what the openers made lives, and nothing of what the stack itself has made in a few moments.
  EXPECT_NEAR(believed_alive(1000, 0, 100, 4), 100, 1e-9);
  const double of_some = believed_alive(1000, 0, 100, 20);
  EXPECT_GT(of_some, 10);
  EXPECT_LT(of_some, 90);
  EXPECT_NEAR(believed_alive(1000, 0, 100, 1e6), 0, 0.1);
  // All lives, where of the openers' nothing does: chance never makes that.
  EXPECT_NEAR(believed_alive(1000, 1000, 0, 1), 1000, 1e-9);
  EXPECT_EQ(believed_alive(0, 0, 0, 10), 0);
  EXPECT_NEAR(believed_alive(1000, 300, 300, 10), 300, 1e-9);
}

constexpr double kManySamples = 1e6;

TEST(DivideInUse, OneHoldsWhatTheOtherDrops) {
  // Each has opened half of the runs, and has half of each run. All of the first one's objects live.
  std::vector<Holder> holders = {{.own = 250, .others = 250, .alive = 250, .alike = 0},
                                 {.own = 0, .others = 250, .alive = 0, .alike = 250}};
  EXPECT_NEAR(divide_in_use(holders, 500, 10), 0.5, 1e-9);  // alike, the other had half
  EXPECT_EQ(holders[0].in_use, 500);
  EXPECT_EQ(holders[1].in_use, 0);
  // Both hold all, and the samples agree.
  holders = {{.own = 250, .others = 250, .alive = 250, .alike = 250},
             {.own = 250, .others = 250, .alive = 250, .alike = 250}};
  EXPECT_EQ(divide_in_use(holders, 1000, 10), 0);
  EXPECT_EQ(holders[1].in_use, 500);
}

// Objects of too few moments to be believed, and of too many to be forgotten.
TEST(DivideInUse, WhatIsNotBelievedIsDoubtful) {
  std::vector<Holder> holders = {{.own = 250, .others = 250, .alive = 250, .alike = 250},
                                 {.own = 0, .others = 500, .alive = 500, .disbelieved = 500, .alike = 500}};
  EXPECT_NEAR(divide_in_use(holders, 1000, kManySamples), 0.25, 1e-9);
  EXPECT_EQ(holders[1].in_use, 500);
}

TEST(DivideInUse, WhoNeverOpenedARunGetsWhatIsLeft) {
  std::vector<Holder> holders = {{.own = 500, .others = 0, .alive = 0, .alike = 0},
                                 {.own = 0, .others = 500, .alive = {}, .alike = 500}};
  divide_in_use(holders, 1000, kManySamples);
  EXPECT_NEAR(holders[1].in_use, 500, 1);
  divide_in_use(holders, 500, kManySamples);
  EXPECT_NEAR(holders[1].in_use, 0, 1);
  // Nothing that the opener holds tells anything.
  holders = {{.own = 0, .others = 0, .alive = 0, .alike = 0}, {.own = 0, .others = 500, .alive = {}}};
  divide_in_use(holders, 480, kManySamples);
  EXPECT_EQ(holders[0].in_use, 0);
  EXPECT_EQ(holders[1].in_use, 480);
}

// Four samples that happen to be as many as the total has room for say nothing of the other stack.
TEST(DivideInUse, NoiseIsNotTakenForDeath) {
  std::vector<Holder> holders = {{.own = 500, .others = 0, .alive = 0, .alike = 0},
                                 {.own = 0, .others = 500, .alive = {}, .alike = 500}};
  divide_in_use(holders, 500, 4);
  EXPECT_GT(holders[1].in_use, 100);
}

TEST(DivideInUse, AddsUpToTheTotal) {
  std::vector<Holder> holders = {{.own = 10, .others = 100, .alive = 30, .alike = 0},
                                 {.own = 20, .others = 5, .alive = 50, .alike = 0}};
  divide_in_use(holders, 130, 10);
  EXPECT_NEAR(holders[0].in_use, 80, 1e-9);
  EXPECT_NEAR(holders[1].in_use, 50, 1e-9);
  std::vector<Holder> none = {{}, {}};
  divide_in_use(none, 100, 0);
  EXPECT_EQ(none[0].in_use, 0);
}

}  // namespace
}  // namespace goheapd::profile
