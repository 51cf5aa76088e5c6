#include "daemon/profile/slice_shares.h"

#include <gtest/gtest.h>

#include <cmath>

namespace goheapd::profile {
namespace {

TEST(SliceShares, EachSliceVariesByItself) {
  SliceShares shares;
  shares.set_part(1);
  EXPECT_EQ(shares.variance(), 0);
  shares.add(1, 3000);
  shares.add(2, 1000);
  shares.add(2, 3000);
  EXPECT_DOUBLE_EQ(shares.variance(), 3000.0 * 3000 + 4000.0 * 4000);
}

TEST(SliceShares, MeanOfCycles) {
  SliceShares shares;
  shares.set_part(1);
  shares.add(1, 4000);
  shares.begin_cycle();
  for (int again = 0; again < 3; ++again) {  // a cycle may be summed up more than once
    shares.set_part(0.25);
    EXPECT_DOUBLE_EQ(shares.variance(), 3000.0 * 3000);
    shares.add(1, 4000);
    shares.add(2, 8000);
    EXPECT_DOUBLE_EQ(shares.variance(), 4000.0 * 4000 + 2000.0 * 2000);
  }
  shares.begin_cycle();
  shares.set_part(1);
  EXPECT_EQ(shares.variance(), 0);
}

// However long a program runs.
TEST(SliceShares, AreBounded) {
  SliceShares shares;
  for (uint32_t slice = 1; slice <= 1000; ++slice) {
    shares.begin_cycle();
    shares.set_part(1e-4);
    shares.add(slice, 1e6);
  }
  // A hundred bytes of each are left, or nearly.
  const double most = 1e4 * static_cast<double>(SliceShares::kMostSlices);
  EXPECT_LE(shares.variance(), most);
  EXPECT_GE(shares.variance(), most * 0.95);
}

// What has much stays, and what is of no slice.
TEST(SliceShares, TheLeastAreForgotten) {
  SliceShares shares;
  shares.set_part(1);
  shares.add(0, 10);
  shares.add(1, 1e6);
  for (uint32_t slice = 2; slice <= 200; ++slice) shares.add(slice, 1000 + slice);
  EXPECT_GE(shares.variance(), 1e12 + 100);
  EXPECT_LE(shares.variance(), 1e12 + 100 + 1200.0 * 1200 * SliceShares::kMostSlices);
}

}  // namespace
}  // namespace goheapd::profile
