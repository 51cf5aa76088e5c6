#include "daemon/probe/program_time.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "bpf/wire.h"

namespace goheapd::probe {
namespace {

constexpr uint64_t kTimed = wire::kTimedRuns;

// As the kernel counts: the time of one run in 64, times 64.
struct Kernel {
  uint64_t hits = 0;
  uint64_t program_ns = 0;
  void hit(uint64_t took_ns) {
    if (++hits % kTimed == 0) program_ns += took_ns * kTimed;
  }
};

TEST(ProgramTime, FollowsManyHitsAtOnce) {
  Kernel kernel;
  ProgramTime time;
  for (int i = 0; i < 100; ++i) {
    for (int k = 0; k < 10'000; ++k) kernel.hit(3000);
    const uint64_t ns = time.observe(kernel.hits, kernel.program_ns);
    EXPECT_NEAR(static_cast<double>(ns), static_cast<double>(kernel.hits) * 3000,
                static_cast<double>(kTimed) * 3000 * 2);
  }
  // They become dear: what follows is priced by what follows.
  const uint64_t before = time.observe(kernel.hits, kernel.program_ns);
  for (int i = 0; i < 10; ++i) {
    for (int k = 0; k < 10'000; ++k) kernel.hit(9000);
    time.observe(kernel.hits, kernel.program_ns);
  }
  const auto added = static_cast<double>(time.observe(kernel.hits, kernel.program_ns) - before);
  EXPECT_NEAR(added / (100'000 * 9000.0), 1, 0.1);
}

// Three hits at a time, as every tenth of a second of a program that hardly allocates, and now and then a slow run.
TEST(ProgramTime, OneSlowRunOfAFewIsNoJump) {
  Kernel kernel;
  ProgramTime time;
  uint64_t last = 0;
  uint64_t largest = 0;
  for (int i = 0; i < 20'000; ++i) {
    for (int k = 0; k < 3; ++k) kernel.hit(kernel.hits % (50 * kTimed) == kTimed - 1 ? 20'000 : 2000);
    const uint64_t ns = time.observe(kernel.hits, kernel.program_ns);
    EXPECT_GE(ns, last);
    // The very first timed run is all that is known for a while.
    if (kernel.hits > 20 * kTimed) largest = std::max(largest, ns - last);
    last = ns;
  }
  EXPECT_LT(largest, 3 * 2 * 2000u) << "64 runs of 20 us would be 1,280,000";
  EXPECT_NEAR(static_cast<double>(last) / static_cast<double>(kernel.program_ns), 1, 0.05);
}

TEST(ProgramTime, BeginsAnewWithTheProbes) {
  ProgramTime time;
  EXPECT_EQ(time.observe(0, 0), 0u);
  EXPECT_EQ(time.observe(63, 0), 0u);
  EXPECT_EQ(time.observe(6400, 6400 * 1000), 6'337'000u)
      << "what was not known of the first 63 is not made good";
  EXPECT_EQ(time.observe(64, 64 * 500), 64u * 500);
}

}  // namespace
}  // namespace goheapd::probe
