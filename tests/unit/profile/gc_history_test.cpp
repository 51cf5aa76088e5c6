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
