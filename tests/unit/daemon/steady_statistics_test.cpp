#include "daemon/steady_statistics.h"

#include <gtest/gtest.h>

namespace goheapd {
namespace {

model::MemStatsReading reading(uint64_t mallocs, uint64_t frees, uint64_t stack_bytes) {
  model::MemStatsReading reading;
  reading.mallocs = mallocs;
  reading.frees = frees;
  reading.total_alloc = mallocs * 16;
  reading.heap_alloc = (mallocs - frees) * 16;
  reading.stack_inuse = stack_bytes;
  return reading;
}

TEST(SteadyStatistics, WhatATornReadingLacksIsNotTakenBack) {
  SteadyStatistics steady;
  ASSERT_TRUE(steady.show(reading(100, 40, 1)));
  const auto shown = steady.show(reading(90, 50, 2));
  EXPECT_EQ(shown->mallocs, 100u);
  EXPECT_EQ(shown->total_alloc, 1600u);
  EXPECT_EQ(shown->frees, 50u);
  EXPECT_EQ(shown->stack_inuse, 2u) << "a gauge is as of now";
  EXPECT_EQ(steady.show(reading(110, 45, 3))->mallocs, 110u);
  EXPECT_EQ(steady.show(reading(110, 45, 3))->frees, 50u);
}

// A counter that had taken in twice what there was would stand still until the program has caught up with it.
TEST(SteadyStatistics, WhatMayBeCountedTwiceIsNotShown) {
  SteadyStatistics steady;
  auto doubled = reading(220, 80, 9);
  doubled.may_count_twice = true;
  EXPECT_FALSE(steady.show(doubled));
  ASSERT_TRUE(steady.show(reading(110, 40, 3)));
  const auto shown = steady.show(doubled);
  EXPECT_EQ(shown->mallocs, 110u);
  EXPECT_EQ(shown->stack_inuse, 3u);
  EXPECT_EQ(steady.show(reading(120, 40, 3))->mallocs, 120u);
}

}  // namespace
}  // namespace goheapd
