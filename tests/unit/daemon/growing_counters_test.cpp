#include "daemon/growing_counters.h"

#include <gtest/gtest.h>

namespace goheapd {
namespace {

using Counters = std::array<double, 3>;

TEST(GrowingCounters, AreWhatIsKnown) {
  Counters shown{};
  grow_counters(shown, {1, 2, 3});
  EXPECT_EQ(shown, (Counters{1, 2, 3}));
  grow_counters(shown, {1, 5, 4});
  EXPECT_EQ(shown, (Counters{1, 5, 4}));
}

TEST(GrowingCounters, NoneFallsAndTheSumIsRight) {
  Counters shown{};
  grow_counters(shown, {100, 0, 0});
  grow_counters(shown, {20, 60, 30});  // most of it was of other kinds
  EXPECT_EQ(shown[0], 100);
  EXPECT_NEAR(shown[1], 20.0 / 3, 1e-9);
  EXPECT_NEAR(shown[2], 10.0 / 3, 1e-9);
  grow_counters(shown, {20, 200, 100});
  EXPECT_NEAR(shown[0] + shown[1] + shown[2], 320, 1e-9);
  EXPECT_EQ(shown[0], 100);
  // All kinds are right, once the first has grown into what is shown.
  grow_counters(shown, {100, 300, 150});
  EXPECT_NEAR(shown[1], 300, 1e-9);
  EXPECT_NEAR(shown[2], 150, 1e-9);
}

TEST(GrowingCounters, StayWhereTheyAreWhenLessIsKnown) {
  Counters shown{10, 10, 10};
  grow_counters(shown, {0, 20, 5});
  EXPECT_EQ(shown, (Counters{10, 10, 10}));
}

}  // namespace
}  // namespace goheapd
