#include "daemon/probe/allowance.h"

#include <gtest/gtest.h>

namespace goheapd::probe {
namespace {

TEST(Allowance, ASmallProgramPaysALargerShareOfNextToNothing) {
  EXPECT_DOUBLE_EQ(allowed_share(0.01, 0), 0.04);
  EXPECT_DOUBLE_EQ(allowed_share(0.01, 0.02), 0.04);
  EXPECT_DOUBLE_EQ(allowed_share(0.01, 0.1), 0.02);
  EXPECT_DOUBLE_EQ(allowed_share(0.01, 0.2), 0.01);
  EXPECT_DOUBLE_EQ(allowed_share(0.01, 16), 0.01);
  // No more than five times a small budget, and never less than a large one.
  EXPECT_DOUBLE_EQ(allowed_share(0.001, 0.02), 0.005);
  EXPECT_DOUBLE_EQ(allowed_share(0.1, 0.02), 0.1);
}

TEST(Allowance, BeyondTheBudgetNeverMoreThanAFiveHundredthOfACpuOrFourPercent) {
  for (const double budget : {0.0001, 0.001, 0.005, 0.01, 0.03}) {
    for (double cpus = 0.0001; cpus < 32; cpus *= 1.1) {
      const double share = allowed_share(budget, cpus);
      EXPECT_GE(share, budget);
      if (share == budget) continue;
      EXPECT_LE(share, 0.04);
      EXPECT_LE(share, 5 * budget * 1.0000001);
      EXPECT_LE(share * cpus, 0.002 * 1.0000001) << budget << " " << cpus;
    }
  }
}

}  // namespace
}  // namespace goheapd::probe
