#include "daemon/opening_schedule.h"

#include <gtest/gtest.h>

#include <vector>

namespace goheapd {
namespace {

constexpr model::ProcessKey kKey{.pid = 7, .start_time = 100};
constexpr model::ProcessKey kOther{.pid = 8, .start_time = 100};
constexpr uint64_t kSecond = 1'000'000'000;

TEST(OpeningSchedule, OneLookAtATime) {
  OpeningSchedule schedule;
  EXPECT_TRUE(schedule.begin(kKey));
  EXPECT_FALSE(schedule.begin(kKey));
  EXPECT_FALSE(schedule.look_due(kKey, 1000 * kSecond));
  EXPECT_TRUE(schedule.begin(kOther));
  EXPECT_TRUE(schedule.finish(kKey, schedule.generation()));
  EXPECT_FALSE(schedule.begin(kOther));
  EXPECT_TRUE(schedule.begin(kKey));
}

TEST(OpeningSchedule, WhatWasFoundByOlderSettingsDoesNotHold) {
  OpeningSchedule schedule;
  const uint64_t before = schedule.generation();
  ASSERT_TRUE(schedule.begin(kKey));
  schedule.settings_changed();
  EXPECT_FALSE(schedule.begin(kKey));  // the one that is under way will be made again
  EXPECT_FALSE(schedule.finish(kKey, before));
  const uint64_t after = schedule.generation();
  ASSERT_TRUE(schedule.begin(kKey));
  EXPECT_TRUE(schedule.finish(kKey, after));
}

TEST(OpeningSchedule, FailuresAreLookedAtEverMoreSeldom) {
  OpeningSchedule schedule;
  uint64_t now = 5 * kSecond;
  std::vector<uint64_t> pauses;
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(schedule.begin(kKey));
    ASSERT_TRUE(schedule.finish(kKey, schedule.generation()));
    schedule.failed(kKey, now);
    const uint64_t begun = now;
    while (!schedule.look_due(kKey, now)) now += kSecond;
    pauses.push_back((now - begun) / kSecond);
  }
  EXPECT_EQ(pauses, (std::vector<uint64_t>{10, 20, 40, 80, 160, 320, 320, 320}));
  EXPECT_TRUE(schedule.look_due(kOther, now));  // has not failed
}

TEST(OpeningSchedule, NewSettingsMayCureEverything) {
  OpeningSchedule schedule;
  for (int i = 0; i < 4; ++i) schedule.failed(kKey, 0);
  EXPECT_FALSE(schedule.look_due(kKey, 79 * kSecond));
  schedule.settings_changed();
  EXPECT_TRUE(schedule.look_due(kKey, 0));
  schedule.failed(kKey, 0);
  EXPECT_TRUE(schedule.look_due(kKey, 10 * kSecond));
}

TEST(OpeningSchedule, ForgetsAndBeginsAnew) {
  OpeningSchedule schedule;
  ASSERT_TRUE(schedule.begin(kKey));
  schedule.forget(kKey);
  EXPECT_TRUE(schedule.begin(kKey));
  for (int i = 0; i < 4; ++i) schedule.failed(kOther, 0);
  schedule.forget(kOther);
  schedule.failed(kOther, 0);
  EXPECT_TRUE(schedule.look_due(kOther, 10 * kSecond));
}

}  // namespace
}  // namespace goheapd
