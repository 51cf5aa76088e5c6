#include "daemon/profile/gc_history.h"

#include <gtest/gtest.h>

namespace goheapd::profile {
namespace {

model::GcCycle cycle(uint32_t number) {
  model::GcCycle cycle;
  cycle.number = number;
  cycle.mark_ns = 1000;
  cycle.mark_end_ns = 5000;
  cycle.end_ns = 8000;
  cycle.stop_procs = 2;
  cycle.assist_ns = 1'000'000'000;
  cycle.idle_ns = -5;  // hostile memory
  return cycle;
}

TEST(GcHistory, KeepsTheLastAndCountsTheMissed) {
  GcHistory history;
  EXPECT_TRUE(history.add(cycle(5)));
  EXPECT_FALSE(history.add(cycle(5)));
  EXPECT_FALSE(history.add(cycle(4)));
  EXPECT_TRUE(history.add(cycle(6)));
  EXPECT_TRUE(history.add(cycle(9)));
  EXPECT_EQ(history.totals().seen, 3u);
  EXPECT_EQ(history.totals().missed, 2u);
  EXPECT_EQ(history.find(6)->number, 6u);
  EXPECT_FALSE(history.find(7));
  EXPECT_FALSE(history.find(10));
  for (uint32_t number = 10; number < 10 + GcHistory::kKept; ++number) history.add(cycle(number));
  EXPECT_EQ(history.cycles().size(), GcHistory::kKept);
  EXPECT_EQ(history.cycles().front().number, 10u);
  EXPECT_FALSE(history.find(9));
}

// Here the one that waits behind cycle 2 has set the flag already.
TEST(GcHistory, TheRuntimesCountTellsWhichWereForced) {
  GcHistory history;
  model::GcCycle one = cycle(1);
  one.forced = one.printed_as_forced = true;
  one.forced_so_far = 1;
  history.add(one);
  model::GcCycle two = cycle(2);
  two.forced = two.printed_as_forced = true;
  two.forced_so_far = 1;
  history.add(two);
  model::GcCycle three = cycle(3);
  three.forced_so_far = 2;
  history.add(three);
  model::GcCycle after_a_gap = cycle(5);
  after_a_gap.forced_so_far = 3;
  history.add(after_a_gap);
  EXPECT_TRUE(history.find(1)->forced) << "nothing is known of the one before";
  EXPECT_FALSE(history.find(2)->forced);
  EXPECT_TRUE(history.find(2)->printed_as_forced);
  EXPECT_TRUE(history.find(3)->forced);
  EXPECT_FALSE(history.find(5)->forced) << "the missed one may have been it";
}

TEST(GcHistory, SumsCpuTimeByKind) {
  GcHistory history;
  history.add(cycle(1));
  history.add(cycle(2));
  const auto& spent = history.totals().cpu_seconds;
  EXPECT_NEAR(spent[0], 2.0, 1e-12);
  EXPECT_EQ(spent[3], 0);
  EXPECT_NEAR(spent[4], 2 * 2 * 4e-6, 1e-15);  // both stops, on two processors
}

}  // namespace
}  // namespace goheapd::profile
