#include "daemon/profile/old_objects.h"

#include <gtest/gtest.h>

namespace goheapd::profile {
namespace {

constexpr uint32_t kClass = 6;
constexpr uint64_t kBytes = 64;
constexpr uint64_t kFirst = 0xc000000000;

model::HeapCensus census_of(uint64_t alive, uint64_t chosen) {
  model::HeapCensus census;
  census.classes[kClass] = {chosen, chosen * kBytes};
  // In no order.
  for (uint64_t i = alive; i-- > 0;)
    census.alive.push_back({{kFirst + i * kBytes, 7, 20, true}, kClass, kBytes});
  return census;
}

TEST(OldObjects, NothingIsKnownOfAClassThatHadNothing) {
  OldObjects old;
  EXPECT_FALSE(old.alive_part(kClass));
  old.begin(census_of(3, 4));
  EXPECT_FALSE(old.alive_part(kClass + 1));
  EXPECT_DOUBLE_EQ(old.alive_part(kClass)->least, 0.75);
}

TEST(OldObjects, WhatDiesIsNotFollowedAnyMore) {
  OldObjects old;
  old.begin(census_of(100, 100));
  for (uint64_t i = 0; i < 100; ++i) {
    std::vector<model::TrackedObject> followed;
    old.add_to(followed);
    ASSERT_EQ(followed.size(), 100 - i);
    EXPECT_EQ(followed.front(), (model::TrackedObject{kFirst + i * kBytes, 7, 20, true}));
    old.forget(kFirst + i * kBytes);
    old.forget(kFirst + i * kBytes);
    old.forget(1);
    EXPECT_DOUBLE_EQ(old.alive_part(kClass)->most, 0.01 * static_cast<double>(99 - i));
  }
}

// With 10 objects that lived through 4 cycles, and the first, which does not count.
TEST(OldObjects, WhatWasOutOfSightIsAsLikelyToLiveAsOthersOfItsClass) {
  OldObjects old;
  old.begin(census_of(10, 10));
  for (uint32_t cycle = 1; cycle <= 5; ++cycle)
    for (int reading = 0; reading < 3; ++reading) old.begin_reading(20 + 2 * cycle);
  old.begin_reading(36);
  for (uint64_t i = 0; i < 10; ++i) old.lose_sight(kFirst + i * kBytes, 2);
  old.end_reading();
  EXPECT_DOUBLE_EQ(old.alive_part(kClass)->least, 0);
  EXPECT_NEAR(old.alive_part(kClass)->likely, 41.0 / 42 * 41 / 42, 1e-9);
  EXPECT_DOUBLE_EQ(old.alive_part(kClass)->most, 1);
  for (uint64_t i = 0; i < 10; ++i) old.forget(kFirst + i * kBytes);
  EXPECT_DOUBLE_EQ(old.alive_part(kClass)->likely, 0);
}

// As right after goheapd came, when it has much to do: what is seen later tells.
TEST(OldObjects, WhatIsNotSeenAtFirstIsLikelyToLiveWhereTheClassLivesOn) {
  OldObjects old;
  old.begin(census_of(10, 10));
  old.begin_reading(26);
  for (uint64_t i = 0; i < 10; ++i) old.lose_sight(kFirst + i * kBytes, 2);
  old.end_reading();
  EXPECT_DOUBLE_EQ(old.alive_part(kClass)->likely, 0.25);
  for (uint32_t cycle = 1; cycle <= 100; ++cycle) old.begin_reading(26 + 2 * cycle);
  old.end_reading();
  EXPECT_GT(old.alive_part(kClass)->likely, 0.99);
}

TEST(OldObjects, OfAClassThatDiesWhatWasOutOfSightIsLikelyToBeDead) {
  OldObjects old;
  old.begin(census_of(64, 64));
  for (uint64_t i = 0; i < 32; ++i) old.forget(kFirst + i * kBytes);  // garbage when we came
  old.begin_reading(22);
  old.begin_reading(24);
  for (uint64_t i = 32; i < 48; ++i) old.forget(kFirst + i * kBytes);
  old.begin_reading(26);
  for (uint64_t i = 48; i < 56; ++i) old.forget(kFirst + i * kBytes);
  old.begin_reading(32);
  for (uint64_t i = 56; i < 64; ++i) old.lose_sight(kFirst + i * kBytes, 3);
  old.end_reading();
  EXPECT_NEAR(old.alive_part(kClass)->likely, 8.0 / 64 / 8, 0.003);
}

TEST(OldObjects, WhatWasOutOfSightMayLive) {
  OldObjects old;
  old.begin(census_of(10, 10));
  for (int i = 0; i < 2; ++i) old.lose_sight(kFirst, 1);
  EXPECT_DOUBLE_EQ(old.alive_part(kClass)->least, 0.9);
  EXPECT_DOUBLE_EQ(old.alive_part(kClass)->most, 1);
  old.forget(kFirst);
  old.lose_sight(kFirst, 1);
  EXPECT_DOUBLE_EQ(old.alive_part(kClass)->least, 0.9);
  EXPECT_DOUBLE_EQ(old.alive_part(kClass)->most, 0.9);
}

}  // namespace
}  // namespace goheapd::profile
