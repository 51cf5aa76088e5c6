#include "daemon/profile/survival.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <string>
#include <vector>

namespace goheapd::profile {
namespace {

// Moments one after the other; each stack has half of what the other opens. Letters are openers, small: it is all dead.
std::vector<Moment> moments_of(char stack, const std::string& openers) {
  std::vector<Moment> moments;
  for (size_t i = 0; i < openers.size(); ++i) {
    Moment& moment = moments.emplace_back();
    moment.time = static_cast<double>(i);
    const bool is_dead = std::islower(openers[i]) != 0;
    moment.openers_alive = is_dead ? 0 : 1;
    if (std::toupper(openers[i]) == stack) {
      moment.samples = 10;
      moment.opened = 200;
      moment.died = is_dead ? 200 : 0;
    } else {
      moment.others = 100;
    }
  }
  return moments;
}

AliveOfOthers alive(char stack, const std::string& openers) {
  const std::vector<Moment> moments = moments_of(stack, openers);
  const auto result = alive_of_others(moments);
  EXPECT_TRUE(result) << openers;
  return result.value_or(AliveOfOthers{});
}

// Both hold what is recent.
TEST(AliveOfOthers, DeathByTime) {
  for (const char stack : {'A', 'B'}) {
    const AliveOfOthers result = alive(stack, "ababababABABABAB");
    EXPECT_NEAR(result.bytes, 400, 51) << stack;
    EXPECT_LE(result.doubtful, 110) << stack;
  }
}

// One holds what is recent, and the other nothing.
TEST(AliveOfOthers, DeathByStack) {
  EXPECT_NEAR(alive('A', "abababAbAbAbA").bytes, 300, 51);
  EXPECT_NEAR(alive('B', "abababAbAbAbA").bytes, 0, 1e-9);
  EXPECT_LE(alive('B', "abababAbAbAbA").doubtful, 101);  // of its first and last objects
}

// One change of openers: the same samples for a stack that drops all and for one that has dropped what was old.
TEST(AliveOfOthers, OneChangeTellsNothing) {
  EXPECT_GE(alive('A', "aaBB").doubtful, 100);
  EXPECT_GE(alive('B', "aaBB").doubtful, 100);
  EXPECT_GE(alive('A', "AAbb").doubtful, 50);
  EXPECT_GE(alive('B', "AAbb").doubtful, 50);
  // Who was alive before should be alive after, who is dead after should be dead before.
  EXPECT_EQ(alive('A', "AAbb").bytes, 200);
  EXPECT_EQ(alive('B', "AAbb").bytes, 0);
}

TEST(AliveOfOthers, ChanceIsNoChange) {
  std::vector<Moment> moments(3);
  for (size_t i = 0; i < 3; ++i)
    moments[i] = {static_cast<double>(i), 8, 80, i == 0 ? 50.0 : 30.0, i == 1 ? 100.0 : 0.0, 0.5};
  moments[1].samples = moments[1].opened = moments[1].died = 0;
  const auto result = alive_of_others(moments);
  ASSERT_TRUE(result);
  EXPECT_NEAR(result->bytes, 50, 1e-9);
  EXPECT_NEAR(result->doubtful, 0, 1e-9);
}

TEST(AliveOfOthers, SaysNothingOfAFew) {
  std::vector<Moment> moments(2);
  moments[0] = {.time = 0, .samples = 7, .opened = 70, .others = 10};
  EXPECT_FALSE(alive_of_others(moments));
  moments[1] = {.time = 1, .samples = 1, .opened = 10};
  EXPECT_TRUE(alive_of_others(moments));
}

constexpr double kManySamples = 1e6;

TEST(DivideInUse, OneHoldsWhatTheOtherDrops) {
  // Each has opened half of the runs, and has half of each run. All of the first one's objects live.
  std::vector<Holder> holders = {{.own = 250, .others = 250, .alive = {{.bytes = 250}}, .alike = 0},
                                 {.own = 0, .others = 250, .alive = {{.bytes = 0}}, .alike = 250}};
  EXPECT_EQ(divide_in_use(holders, 500, 10), 0);
  EXPECT_EQ(holders[0].in_use, 500);
  EXPECT_EQ(holders[1].in_use, 0);
}

TEST(DivideInUse, DoubtIsOfTheTotal) {
  std::vector<Holder> holders = {{.own = 250, .others = 250, .alive = {{.bytes = 250, .doubtful = 50}}},
                                 {.own = 0, .others = 500, .alive = {{.bytes = 500, .doubtful = 200}}}};
  EXPECT_NEAR(divide_in_use(holders, 1000, kManySamples), 0.25, 1e-9);
  EXPECT_EQ(holders[1].in_use, 500);
}

// What stacks say of themselves must come to the total, but for chance.
TEST(DivideInUse, MissingTheTotalIsDoubtful) {
  std::vector<Holder> holders = {{.own = 250, .others = 250, .alive = {{.bytes = 250}}},
                                 {.own = 250, .others = 500, .alive = {{.bytes = 500}}}};
  EXPECT_NEAR(divide_in_use(holders, 1000, kManySamples), 0.25, 0.01);
  EXPECT_EQ(divide_in_use(holders, 1000, 16), 0);
  EXPECT_EQ(holders[1].in_use, 600);
}

TEST(DivideInUse, WhoNeverOpenedARunGetsWhatIsLeft) {
  std::vector<Holder> holders = {{.own = 500, .others = 0, .alive = AliveOfOthers{}, .alike = 0},
                                 {.own = 0, .others = 500, .alive = {}, .alike = 500}};
  EXPECT_NEAR(divide_in_use(holders, 1000, kManySamples), 0, 0.01);
  EXPECT_NEAR(holders[1].in_use, 500, 1);
  EXPECT_NEAR(divide_in_use(holders, 500, kManySamples), 0.5, 0.01);  // alike, it had half
  EXPECT_NEAR(holders[1].in_use, 0, 1);
  // Nothing that the opener holds tells anything.
  holders = {{.own = 0, .others = 0, .alive = AliveOfOthers{}}, {.own = 0, .others = 500, .alive = {}}};
  divide_in_use(holders, 480, kManySamples);
  EXPECT_EQ(holders[0].in_use, 0);
  EXPECT_EQ(holders[1].in_use, 480);
}

// Four samples that happen to be as many as the total has room for say nothing of the other stack.
TEST(DivideInUse, NoiseIsNotTakenForDeath) {
  std::vector<Holder> holders = {{.own = 500, .others = 0, .alive = AliveOfOthers{}, .alike = 0},
                                 {.own = 0, .others = 500, .alive = {}, .alike = 500}};
  divide_in_use(holders, 500, 4);
  EXPECT_GT(holders[1].in_use, 100);
}

TEST(DivideInUse, AddsUpToTheTotal) {
  std::vector<Holder> holders = {{.own = 10, .others = 100, .alive = {{.bytes = 30}}, .alike = 0},
                                 {.own = 20, .others = 5, .alive = {{.bytes = 50}}, .alike = 0}};
  divide_in_use(holders, 130, 10);
  EXPECT_NEAR(holders[0].in_use, 80, 1e-9);
  EXPECT_NEAR(holders[1].in_use, 50, 1e-9);
  std::vector<Holder> none = {{}, {}};
  EXPECT_EQ(divide_in_use(none, 100, 0), 0);
  EXPECT_EQ(none[0].in_use, 0);
  holders[0].in_use = 1;
  EXPECT_EQ(divide_in_use(holders, 0, 0), 0);
  EXPECT_EQ(holders[0].in_use, 0);
}

}  // namespace
}  // namespace goheapd::profile
