// How much samples can stand for where they are not taken all the time.
#include "daemon/profile/sampling_reach.h"

#include <gtest/gtest.h>

namespace goheapd::profile {
namespace {

constexpr size_t kClass = 5;
constexpr uint64_t kMs = 1'000'000;

class SamplingReachTest : public testing::Test {
 protected:
  // The class grows by so much in so many milliseconds, then counters are read.
  void pass(uint64_t milliseconds, double bytes) {
    now_ += milliseconds * kMs;
    std::array<double, kSpanSizeClasses> grown{};
    grown[kClass] = bytes;
    if (is_recording_ && bytes >= kDistance) reach_.on_read_sample(kClass, bytes);
    reach_.on_reading(now_, grown, kDistance);
    allocated_ += bytes;
  }
  void record(bool on) {
    is_recording_ = on;
    reach_.set_recording(on, now_);
  }
  double most() const { return reach_.most(kClass); }

  static constexpr double kDistance = 8192;
  bool is_recording_ = true;
  SamplingReach reach_;
  uint64_t now_ = 1000 * kMs;
  double allocated_ = 0;
};

TEST_F(SamplingReachTest, AllThatIsAllocatedWhileSamplesAreTaken) {
  pass(0, 0);
  EXPECT_EQ(most(), 0);
  pass(1000, 5e6);
  pass(10'000, 1e9);
  EXPECT_EQ(most(), allocated_);
  EXPECT_EQ(reach_.most(kClass + 1), 0);
}

TEST_F(SamplingReachTest, SlicesStandForTheGapsBesideThem) {
  pass(0, 0);
  record(false);
  for (int i = 0; i < 3; ++i) {
    pass(5000, 50e6);
    record(true);
    pass(100, 1e6);
    record(false);
  }
  EXPECT_GE(most(), allocated_);
  pass(3000, 30e6);
  EXPECT_GE(most(), allocated_) << "the gap after the last slice";
}

TEST_F(SamplingReachTest, BurstInAGapIsOutOfReach) {
  pass(0, 0);
  for (int i = 0; i < 5; ++i) {
    record(false);
    pass(5000, i == 2 ? 15e6 : 500);
    record(true);
    pass(100, 10);
  }
  EXPECT_LE(most(), 10e3);
  EXPECT_GE(most(), 2000);
}

TEST_F(SamplingReachTest, OfAClassThatIsSeldomAllocatedFewSlicesSeeSomething) {
  pass(0, 0);
  for (int i = 0; i < 50; ++i) {
    record(false);
    pass(4900, 49 * 256);
    record(true);
    pass(100, i % 10 == 0 ? 10 * 256 : 0);
  }
  EXPECT_GE(most(), allocated_);
}

TEST_F(SamplingReachTest, StretchOfWhichNoCountersWereReadIsTakenForWhatWasSampledInIt) {
  pass(0, 0);
  record(false);
  pass(5000, 1e6);
  now_ += 1000 * kMs;
  record(true);
  reach_.on_sample(kClass, 40e3, 50, now_);
  now_ += 100 * kMs;
  record(false);
  pass(4000, 1e6);
  EXPECT_GE(most(), 8e6);
  EXPECT_LE(most(), 20e6);
}

TEST_F(SamplingReachTest, BurstThatGoesOnAfterTheEndOfAStretch) {
  pass(0, 0);
  pass(5000, 0);
  now_ += 10 * kMs;
  reach_.on_sample(kClass, 3e6, 1, now_);
  reach_.on_read_sample(kClass, 3e6);
  record(false);
  pass(20, 8e6);
  EXPECT_GE(most(), 8e6);
  EXPECT_LE(most(), 20e6);
  pass(60'000, 500e6);
  EXPECT_LE(most(), 20e6) << "but not for ever";
}

// Of a program that works for a short time now and then, few slices see anything, but what they see stands for much.
TEST_F(SamplingReachTest, SeldomBurstIsExplainedWhenItIsSeen) {
  pass(0, 0);
  for (int i = 0; i < 50; ++i) {
    record(false);
    pass(4900, 1e6);
    record(true);
    pass(100, i == 40 ? 1e6 : 0);
    if (i == 39) {
      EXPECT_LE(most(), 1e6);
    }
  }
  EXPECT_GE(most(), allocated_);
}

TEST_F(SamplingReachTest, TheMoreWasSeenTheLessIsLeftToChance) {
  pass(0, 0);
  for (int i = 0; i < 100; ++i) {
    record(false);
    pass(4900, 4.9e6);
    record(true);
    pass(100, 0.1e6);
  }
  EXPECT_GE(most(), allocated_);
  EXPECT_LE(most(), 1.3 * allocated_);
}

// Counters are read some time after the end of a slice: a burst in between was not seen.
TEST_F(SamplingReachTest, BurstBetweenTheEndOfAStretchAndItsReading) {
  pass(0, 0);
  record(false);
  pass(5000, 1e4);
  record(true);
  now_ += 100 * kMs;
  record(false);
  reach_.on_read_sample(kClass, 1e4);
  pass(30, 50e6);
  EXPECT_LE(most(), 15e6);
}

TEST_F(SamplingReachTest, WhatIsFarAwayTellsNothing) {
  pass(0, 0);
  pass(100'000, 1e6);
  record(false);
  pass(3'600'000, 1e9);
  EXPECT_LE(most(), 1e6 + (1 + SamplingReach::kSigmas) * 0.3e6 * 1.01);
  const double before = most();
  record(true);
  pass(1000, 0);
  EXPECT_NEAR(most(), before, 1);
}

}  // namespace
}  // namespace goheapd::profile
