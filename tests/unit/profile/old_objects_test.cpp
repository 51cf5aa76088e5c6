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

TEST(OldObjects, WhatWasOutOfSightMayLive) {
  OldObjects old;
  old.begin(census_of(10, 10));
  for (int i = 0; i < 2; ++i) old.lose_sight(kFirst);
  EXPECT_DOUBLE_EQ(old.alive_part(kClass)->least, 0.9);
  EXPECT_DOUBLE_EQ(old.alive_part(kClass)->most, 1);
  old.forget(kFirst);
  old.lose_sight(kFirst);
  EXPECT_DOUBLE_EQ(old.alive_part(kClass)->least, 0.9);
  EXPECT_DOUBLE_EQ(old.alive_part(kClass)->most, 0.9);
}

}  // namespace
}  // namespace goheapd::profile
