// The books of source spans: what each garbage collection has left, as verdicts, counters and marked bytes tell it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/unit/profile/span_ledger_fixture.h"

namespace goheapd::profile {
namespace {

// The counters are read late. What was allocated since the cycle's end is no part of what it left alive.
TEST_F(SpanLedgerTest, CountersAreTakenBackToTheEndOfTheCycle) {
  apply();
  ledger_.on_opened(run(0x1000, {10}));
  allocate(kClass64, 1000);
  ledger_.on_cycle({1, now_ + 60 * kMillisecond, false});
  sweepgen_ += 2;
  now_ += 80 * kMillisecond;
  allocate(kClass64, 1000);  // 2000 evenly over 80 ms: 1500 by the end of the cycle
  apply();
  EXPECT_NEAR(static_cast<double>(profile()[10].inuse_objects), 1500, 1);
}

// It has not allocated evenly, as the runtime's own sum of what is alive tells.
TEST_F(SpanLedgerTest, CountersAreTakenBackToWhatTheCycleHasMarked) {
  for (const uint64_t marked : {1900, 1100, 2500, 900}) {
    reset();
    sweepgen_ = 20;
    apply();
    ledger_.on_opened(run(0x1000, {10}));
    allocate(kClass64, 1000);
    ledger_.on_cycle({1, now_ + 60 * kMillisecond, false});
    sweepgen_ += 2;
    model::GcCycle cycle;
    cycle.number = sweepgen_ / 2;
    cycle.heap_marked = 64 * marked;
    ledger_.on_marked(cycle);
    now_ += 80 * kMillisecond;
    allocate(kClass64, 1000);
    apply();
    // At most all that was allocated up to the reading.
    EXPECT_NEAR(static_cast<double>(profile()[10].inuse_objects),
                std::min(static_cast<double>(marked), 2000.0), 1);
    // The sum of another cycle says nothing.
    ledger_.on_cycle({1, now_ + 60 * kMillisecond, false});
    sweepgen_ += 2;
    now_ += 60 * kMillisecond;
    apply();
    EXPECT_NEAR(static_cast<double>(profile()[10].inuse_objects), 2000, 1);
  }
}

TEST_F(SpanLedgerTest, UnsweptCountersDoNotMeasure) {
  apply();
  ledger_.on_opened(run(0x1000, {10}));
  allocate(kClass64, 1000);
  collect();
  free(kClass64, 400);
  apply();
  EXPECT_EQ(profile()[10].inuse_objects, 600);
  allocate(kClass64, 1000);
  collect();
  SpanReading early = reading();
  early.swept = false;
  ledger_.apply(early);
  EXPECT_EQ(profile()[10].inuse_objects, 600);  // the one run, as it was
  free(kClass64, 300);
  apply();
  EXPECT_EQ(profile()[10].inuse_objects, 1300);
}

// Taken in slices, samples weigh much more in one cycle than in the next. Before its sweep has ended, nobody knows how
// much; what is shown then is of the cycle before, as a whole, and says so.
TEST_F(SpanLedgerTest, BetweenACycleAndItsSweepAllIsOfTheCycleBefore) {
  constexpr double kTimes = 30;
  allocate(kClass64, 300'000);  // of which all lives for ever
  apply();
  std::vector<model::TrackedObject> dead;
  uint64_t address = 0x1000;
  const auto in_use = [this] {
    int64_t bytes = 0;
    for (const auto& [site, values] : profile()) bytes += values.inuse_bytes;
    return bytes;
  };
  const auto slice = [&](int survivors, int garbage) {
    for (int i = 0; i < survivors; ++i) ledger_.on_opened(run(address += 0x2000, {10}), kTimes);
    for (int i = 0; i < garbage; ++i) {
      const auto opened = run(address += 0x2000, {11});
      ledger_.on_opened(opened, kTimes);
      dead.push_back(tracked(opened));
    }
  };
  int64_t last = 0;
  uint32_t shown_cycle = 0;
  for (int cycle = 0; cycle < 12; ++cycle) {
    slice(cycle % 4 == 0 ? 7 : 0, cycle % 3 == 0 ? 5 : 0);
    allocate(kClass64, 500'000);
    collect();
    SpanReading early =
        reading(cycle % 2 == 0 ? std::exchange(dead, {}) : std::vector<model::TrackedObject>{});
    early.swept = false;
    ledger_.apply(early);
    if (cycle != 0) {
      EXPECT_EQ(in_use(), last) << cycle;
      RawSnapshot snapshot;
      ledger_.fill(snapshot);
      EXPECT_EQ(snapshot.gc_cycle, shown_cycle);
    }
    free(kClass64, 499'000);
    apply();
    last = in_use();
    shown_cycle = sweepgen_ / 2;
    EXPECT_NEAR(static_cast<double>(last), 64.0 * (300'000 + 1000 * (cycle + 1)), 8) << cycle;
  }
}

// Most of what is there when we come is garbage that no cycle has found yet, and of one size.
TEST_F(SpanLedgerTest, WhatTheLastCycleBeforeUsHasLeftIsKnownInSum) {
  constexpr uint32_t kClass128 = 10;
  ASSERT_EQ(class_bytes(kClass128), 128u);
  allocate(kClass64, 100'000);
  free(kClass64, 80'000);
  allocate(kClass128, 1000);
  SpanReading first = reading();
  first.heap_marked = 64 * 500 + 128 * 1000;
  ledger_.apply(first);
  RawSnapshot snapshot;
  ledger_.fill(snapshot);
  EXPECT_NE(std::find_if(snapshot.comments.begin(), snapshot.comments.end(),
                         [](const auto& text) { return text.find("by size only estimated") != text.npos; }),
            snapshot.comments.end());
  double sum = 0;
  double of_128 = 0;
  for (const RawSample& sample : snapshot.samples) {
    sum += static_cast<double>(sample.published.inuse_bytes);
    if (sample.object_bytes == 128) of_128 += static_cast<double>(sample.published.inuse_bytes);
  }
  EXPECT_NEAR(sum, static_cast<double>(*first.heap_marked), 2);
  EXPECT_GT(of_128, 0.7 * 128 * 1000);
  // What then turns out to live may be more of a class than was thought.
  ledger_.on_opened(run(0x1000, {10}));
  allocate(kClass64, 1000);
  collect();
  free(kClass64, 15'000);
  SpanReading next = reading();
  next.heap_marked = 64 * 6000 + 128 * 1000;
  ledger_.apply(next);
  RawSnapshot later;
  ledger_.fill(later);
  sum = 0;
  for (const RawSample& sample : later.samples) sum += static_cast<double>(sample.published.inuse_bytes);
  EXPECT_NEAR(sum, static_cast<double>(*next.heap_marked), 2);
  EXPECT_LE(profile()[10].inuse_objects, 1000);
  EXPECT_NEAR(static_cast<double>(profile()[0].inuse_bytes), 64 * 5872 + 128 * 1000, 64 * 900);
}

// A program that ends soon after it was attached to.
TEST_F(SpanLedgerTest, WhatNoReadingHasCountedIsAsSamplesWeigh) {
  allocate(kClass64, 300);
  apply();
  const uint64_t last = now_;
  for (uint64_t i = 0; i < 4; ++i) ledger_.on_opened(run(0x1000 + 0x2000 * i, {10}));
  EXPECT_EQ(profile()[10].alloc_objects, 0);
  ledger_.finish(last + 250 * kMillisecond);
  // 8 KiB of which one in 64 KiB is sampled.
  const double weight = 1 / (1 - std::exp(-static_cast<double>(64 * kPlanned) / kMean));
  EXPECT_NEAR(static_cast<double>(profile()[10].alloc_objects), 4 * kPlanned * weight, 2);
  EXPECT_EQ(profile()[0].alloc_objects, 300);
  RawSnapshot snapshot;
  ledger_.fill(snapshot);
  EXPECT_EQ(std::count_if(snapshot.comments.begin(), snapshot.comments.end(),
                          [](const auto& text) { return text.find("0.25 s before it ended") != text.npos; }),
            1);
}

// Few samples of what is alive stand for more than all that their stack was seen to allocate.
TEST_F(SpanLedgerTest, NobodyHoldsMoreThanHeHasAllocated) {
  apply();
  std::vector<model::SpanRunOpened> runs;
  for (uint64_t i = 0; i < 10; ++i) {
    runs.push_back(run(0x1000 + 0x2000 * i, {i < 2 ? 10u : 11u}));
    ledger_.on_opened(runs.back());
  }
  allocate(kClass64, 1000);
  collect();
  free(kClass64, 200);
  std::vector<model::TrackedObject> dead;
  for (size_t i = 4; i < 10; ++i) dead.push_back(tracked(runs[i]));
  apply(dead);  // 800 are alive; of the samples two of each stack
  auto values = profile();
  EXPECT_EQ(values[10].inuse_objects, 400);
  EXPECT_EQ(values[10].alloc_objects, 400);
  EXPECT_EQ(values[11].inuse_objects, 400);
  EXPECT_EQ(values[11].alloc_objects, 600);
}

// A program that collects so often that no reading finds it swept. What its cycles mark is all that lives.
TEST_F(SpanLedgerTest, WhereNoSweepIsEverSeenTheMarkedBytesHold) {
  constexpr double kTimes = 30;
  allocate(kClass64, 10'000);
  apply();
  uint64_t address = 0x1000;
  for (int cycle = 0; cycle < 12; ++cycle) {
    for (int i = 0; i < (cycle % 3 == 0 ? 9 : 1); ++i)
      ledger_.on_opened(run(address += 0x2000, {10}), kTimes);
    allocate(kClass64, 100'000);
    collect();
    model::GcCycle marked;
    marked.number = sweepgen_ / 2;
    marked.heap_marked = static_cast<uint64_t>(64) * (20'000 + 5000 * static_cast<uint64_t>(cycle));
    ledger_.on_marked(marked);
    SpanReading early = reading();
    early.swept = false;
    ledger_.apply(early);
    free(kClass64, 95'000);
    if (cycle == 0) continue;  // the books still have the cycle before
    auto values = profile();
    EXPECT_NEAR(static_cast<double>(values[0].inuse_bytes + values[1].inuse_bytes + values[10].inuse_bytes),
                static_cast<double>(marked.heap_marked), 8)
        << cycle;
    RawSnapshot snapshot;
    ledger_.fill(snapshot);
    EXPECT_EQ(snapshot.gc_cycle, sweepgen_ / 2);
  }
}

// ... and what no sample explains can be from before.
TEST_F(SpanLedgerTest, WhereNoSweepIsEverSeenOldObjectsAreFromBefore) {
  allocate(kClass64, 10'000);
  apply();
  for (int cycle = 0; cycle < 3; ++cycle) {
    collect();
    SpanReading early = reading();
    early.swept = false;
    ledger_.apply(early);
  }
  EXPECT_EQ(profile()[0].inuse_objects, 10'000);
  EXPECT_EQ(profile()[1].inuse_objects, 0);
}

}  // namespace
}  // namespace goheapd::profile
