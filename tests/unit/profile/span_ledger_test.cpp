// The books of source spans: what was allocated, and what is in use.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/unit/profile/span_ledger_fixture.h"

namespace goheapd::profile {
namespace {

TEST_F(SpanLedgerTest, TotalsOfAClassAreTheRuntimes) {
  allocate(kClass64, 1000);
  free(kClass64, 400);
  apply();
  ledger_.on_opened(run(0x1000, {10}));
  ledger_.on_opened(run(0x2000, {10}));
  ledger_.on_opened(run(0x3000, {11}));
  allocate(kClass64, 9000);
  collect();
  free(kClass64, 600);  // all that was from before
  apply();
  auto values = profile();
  EXPECT_EQ(values[0].alloc_objects, 1000);
  EXPECT_EQ(values[10].alloc_objects, 6000);
  EXPECT_EQ(values[11].alloc_objects, 3000);
  EXPECT_EQ(values[10].alloc_bytes, 6000 * 64);
  EXPECT_EQ(values[0].inuse_objects + values[10].inuse_objects + values[11].inuse_objects, 9000);
  EXPECT_EQ(ledger_.live_objects(), 9000);
  EXPECT_EQ(ledger_.live_bytes(), 9000 * 64);
}

// What mode exact counts is in its own books: ours have the rest, and what is in use of both.
TEST_F(SpanLedgerTest, WhatAnotherSourceCountsIsLeftOut) {
  apply();
  ledger_.on_opened(run(0x1000, {10}));
  allocate(kClass64, 1000);
  apply();
  allocate(kClass64, 20);  // before the counting began
  ledger_.set_alloc_counted_elsewhere(true);
  ledger_.on_opened(run(0x2000, {11}));
  allocate(kClass64, 300);
  CountedElsewhere counted;
  counted.amounts[kClass64] = {300, 300 * 64};
  ledger_.apply(reading(), counted);
  EXPECT_EQ(profile()[10].alloc_objects, 1020);
  // Counted from one reading to the next: the runtime knows best how much that was.
  allocate(kClass64, 5000);
  counted.amounts[kClass64] = {5290, 5290 * 64};
  counted.all = true;
  collect();
  ledger_.apply(reading(), counted);
  auto values = profile();
  EXPECT_EQ(values[10].alloc_objects, 1020);
  EXPECT_EQ(values[11].alloc_objects, 0);
  EXPECT_EQ(values[10].inuse_objects, 3160);
  EXPECT_EQ(values[11].inuse_objects, 3160);
  // Until it ends.
  allocate(kClass64, 100);
  ledger_.set_alloc_counted_elsewhere(false);
  allocate(kClass64, 2000);
  ledger_.on_opened(run(0x3000, {12}));
  counted.amounts[kClass64] = {5390, 5390 * 64};
  counted.all = false;
  ledger_.apply(reading(), counted);
  values = profile();
  EXPECT_EQ(values[10].alloc_objects + values[12].alloc_objects, 3020);
  EXPECT_EQ(values[11].alloc_objects, 0);
  double total = 0;
  for (const double objects : ledger_.alloc_objects()) total += objects;
  EXPECT_EQ(total, 3020);
  // What a source says that has counted more than there was takes nothing from the rest.
  counted.amounts[kClass64] = {99'390, 99'390 * 64};
  ledger_.apply(reading(), counted);
  EXPECT_EQ(profile()[10].alloc_objects + profile()[12].alloc_objects, 3020);
}

TEST_F(SpanLedgerTest, CutRunsCountWhatTheyUsed) {
  apply();
  const auto cut = run(0x1000, {10});
  ledger_.on_opened(cut);
  const auto full = run(0x2000, {11});
  ledger_.on_opened(full);
  ledger_.on_cut({1, now_, cut.address, cut.time_ns, kPlanned / 4});
  ledger_.on_cut({1, now_, full.address, full.time_ns + 1, 1});  // of another run that was there
  allocate(kClass64, 1000);
  apply();
  auto values = profile();
  EXPECT_EQ(values[10].alloc_objects, 200);
  EXPECT_EQ(values[11].alloc_objects, 800);
}

// A cut comes when the collector lets go of the span, which can be after its first object was found dead.
TEST_F(SpanLedgerTest, CutAfterDeath) {
  apply();
  const auto first = run(0x1000, {10});
  const auto second = run(0x2000, {11});
  ledger_.on_opened(first);
  ledger_.on_opened(second);
  allocate(kClass64, 100);
  collect();
  free(kClass64, 50);
  apply({tracked(first)});
  ledger_.on_cut({1, now_, first.address, first.time_ns, kPlanned / 2});
  ledger_.on_cut({1, now_, second.address, second.time_ns, kPlanned / 2});
  apply();
  auto values = profile();
  EXPECT_EQ(values[10].alloc_objects, 50);
  EXPECT_EQ(values[11].alloc_objects, 50);
  EXPECT_EQ(values[10].inuse_objects, 0);
}

TEST_F(SpanLedgerTest, DeathsLeaveTheSurvivorsWithTheHeap) {
  apply();
  std::vector<model::SpanRunOpened> runs;
  for (uint64_t i = 0; i < 8; ++i) {
    runs.push_back(run(0x1000 * (i + 1), {10 + i % 2}));
    ledger_.on_opened(runs.back());
  }
  allocate(kClass64, 8000);
  EXPECT_EQ(ledger_.tracked().size(), 8u);
  collect();
  free(kClass64, 4000);
  apply({tracked(runs[0]), tracked(runs[2]), tracked(runs[4]), tracked(runs[1])});
  auto values = profile();
  EXPECT_EQ(values[10].inuse_objects, 1000);
  EXPECT_EQ(values[11].inuse_objects, 3000);
  EXPECT_EQ(values[10].alloc_objects, 4000);
  EXPECT_EQ(ledger_.births(), 8u);
  EXPECT_EQ(ledger_.deaths(), 4u);
  EXPECT_EQ(ledger_.tracked().size(), 4u);
  // Asked for before the slot was handed out again.
  const auto again = run(runs[3].address, {12});
  ledger_.on_opened(again);
  apply({tracked(runs[3])});
  EXPECT_EQ(ledger_.tracked().size(), 4u);
  EXPECT_EQ(ledger_.deaths(), 5u);
}

TEST_F(SpanLedgerTest, YoungRunsAreNotInUseYet) {
  apply();
  ledger_.on_opened(run(0x1000, {10}));
  allocate(kClass64, 500);
  apply();
  EXPECT_EQ(profile()[10].inuse_objects, 0);
  EXPECT_EQ(profile()[10].alloc_objects, 500);
  collect();
  apply();
  EXPECT_EQ(profile()[10].inuse_objects, 500);
}

// What we did not see is said to be so, and shrinks as the collector finds it dead; it never grows again.
// What was held in the mean of some slices is gone: nothing is left to scale.
TEST_F(SpanLedgerTest, NothingOfAMeanIsNothing) {
  apply();
  const auto large = run(0x1000, {1}, 0, 64 << 10, 1);
  ledger_.on_opened(large, 25);
  counters_.large.allocs = 25;
  counters_.large_alloc_bytes = 25 * (64 << 10);
  collect();
  apply();
  EXPECT_NEAR(static_cast<double>(profile()[1].inuse_bytes), 25 * (64 << 10), 1);
  counters_.large.frees = 25;
  counters_.large_free_bytes = 25 * (64 << 10);
  collect();
  apply({tracked(large)});
  EXPECT_EQ(profile()[1].inuse_bytes, 0);
  EXPECT_NEAR(static_cast<double>(profile()[1].alloc_bytes), 25 * (64 << 10), 1);
}

// goheapd came before the first collection ever.
TEST_F(SpanLedgerTest, WhatWasThereBeforeTheFirstCollectionMayLive) {
  sweepgen_ = 0;
  allocate(kClass64, 1000);
  apply();
  ledger_.on_opened(run(0x1000, {10}));
  allocate(kClass64, 500);
  collect();
  apply();
  auto values = profile();
  EXPECT_NEAR(static_cast<double>(values[0].inuse_objects), 1000, 100);
  EXPECT_NEAR(static_cast<double>(values[10].inuse_objects), 500, 100);
}

// As in Go's own heap profile: all is in use until a collection says otherwise.
TEST_F(SpanLedgerTest, AllIsInUseBeforeTheFirstCollection) {
  sweepgen_ = 0;
  allocate(kClass64, 1000);
  apply();
  EXPECT_EQ(profile()[0].inuse_objects, 1000);
  for (uint64_t i = 0; i < 20; ++i) ledger_.on_opened(run(0x1000 + i * 8192, {10}));
  allocate(kClass64, 20'000);
  allocate(3, 77);
  apply();
  auto values = profile();
  EXPECT_EQ(values[0].inuse_objects, 1000);
  EXPECT_NEAR(static_cast<double>(values[10].inuse_objects), 20'000, 1);
  EXPECT_EQ(values[1].inuse_objects, 77);
  EXPECT_EQ(ledger_.live_objects(), 21'077);
  // The first collection finds half of it dead.
  collect();
  free(kClass64, 10'500);
  std::vector<model::TrackedObject> dead;
  for (const model::TrackedObject& object : ledger_.tracked())
    if (dead.size() < 10) dead.push_back(object);
  apply(dead);
  values = profile();
  EXPECT_EQ(values[0].inuse_objects + values[10].inuse_objects, 10'500);
  EXPECT_GE(values[10].inuse_objects, 9'500);
}

// Goheapd comes while the garbage of a collection is swept: what that has marked is known all the same.
TEST_F(SpanLedgerTest, WhatWasMarkedIsInUseBeforeTheFirstSweepIsOver) {
  allocate(kClass64, 100'000);
  free(kClass64, 20'000);
  SpanReading first = reading();
  first.swept = false;
  first.heap_marked = 30'000 * 64;
  ledger_.apply(first);
  EXPECT_NEAR(static_cast<double>(profile()[0].inuse_objects), 30'000, 1);
  RawSnapshot snapshot;
  ledger_.fill(snapshot);
  EXPECT_TRUE(std::any_of(snapshot.comments.begin(), snapshot.comments.end(), [](const std::string& comment) {
    return comment.find("only estimated") != std::string::npos;
  }));
}

// Of what was there some objects are followed; what samples explain of the class or not has no say then.
TEST_F(SpanLedgerTest, FromBeforeIsWhatLivesOfWhatWasThere) {
  allocate(kClass64, 10'000);
  SpanReading first = reading();
  first.census.emplace();
  first.census->classes[kClass64] = {100, 100 * 64};
  for (uint64_t i = 0; i < 80; ++i)
    first.census->alive.push_back({{0x100000 + i * 64, now_, sweepgen_, true}, kClass64, 64});
  ledger_.apply(first);
  EXPECT_EQ(ledger_.tracked().size(), 80u);
  EXPECT_EQ(profile()[0].inuse_objects, 10'000) << "so say the counters: nothing has come since";
  // Few samples come of what is allocated now.
  allocate(kClass64, 20'000);
  free(kClass64, 20'000);
  ledger_.on_opened(run(0x1000, {10}));
  ledger_.on_opened(run(0x100000 + 79 * 64, {10}));  // a slot is handed out again
  collect();
  SpanReading second = reading();
  for (uint64_t i = 0; i < 39; ++i) second.liveness.dead.push_back(first.census->alive[i].object);
  ledger_.apply(second);
  EXPECT_NEAR(static_cast<double>(profile()[0].inuse_objects), 4000, 1);
  EXPECT_EQ(ledger_.deaths(), 0u);
  collect();
  SpanReading third = reading();
  for (uint64_t i = 39; i < 79; ++i) third.liveness.out_of_sight.push_back(first.census->alive[i].object);
  ledger_.set_recording(false, now_);
  ledger_.apply(third);
  // Whether it lives is not known any more, nothing tells how likely that is, and no samples are taken that could.
  EXPECT_EQ(profile()[0].inuse_objects, 2000);
  auto values = profile();
  EXPECT_EQ(values[1].inuse_objects + values[10].inuse_objects, 8000);
}

TEST_F(SpanLedgerTest, FromBeforeIsBounded) {
  allocate(kClass64, 1'000'000);
  apply();
  EXPECT_EQ(profile()[0].inuse_objects, 1'000'000);
  collect();
  free(kClass64, 900'000);
  apply();
  EXPECT_EQ(profile()[0].inuse_objects, 100'000);
  ledger_.on_opened(run(0x1000, {10}));
  allocate(kClass64, 50'000);
  collect();
  apply();
  auto values = profile();
  EXPECT_LE(values[0].inuse_objects, 100'000);
  EXPECT_EQ(values[0].inuse_objects + values[1].inuse_objects + values[10].inuse_objects, 150'000);
  EXPECT_EQ(values[0].alloc_objects, 1'000'000);
}

TEST_F(SpanLedgerTest, ClassesWithoutASampleAreNotLost) {
  apply();
  allocate(3, 77);
  collect();
  apply();
  EXPECT_EQ(profile()[1].alloc_objects, 77);
  EXPECT_EQ(profile()[1].inuse_objects, 77);
  ledger_.on_opened(run(0x1000, {10}, 3 << 1, 24, 341));
  apply();
  EXPECT_EQ(profile()[1].alloc_objects, 0);
  EXPECT_EQ(profile()[10].alloc_objects, 77);
}

TEST_F(SpanLedgerTest, LargeObjectsAreScaledByBytes) {
  apply();
  ledger_.on_opened(run(0x10000, {10}, 0, 40960, 1));
  ledger_.on_opened(run(0x20000, {11}, 1, 81920, 1));
  counters_.large.allocs = 2;
  counters_.large_alloc_bytes = 40960 + 81920;
  collect();
  apply();
  auto values = profile();
  EXPECT_NEAR(static_cast<double>(values[10].alloc_bytes + values[11].alloc_bytes), 40960 + 81920, 2);
  EXPECT_NEAR(static_cast<double>(values[10].inuse_bytes + values[11].inuse_bytes), 40960 + 81920, 2);
  // The smaller one stands for more of its kind.
  EXPECT_GT(values[10].alloc_objects * 2, values[11].alloc_objects);
}

// What is certain is not scaled with what is guessed.
TEST_F(SpanLedgerTest, LargeObjectsThatWereSampledAreThereForCertain) {
  apply();
  ledger_.on_opened(run(0x1000, {1}, 0, 8 << 20, 1));
  for (uint64_t i = 0; i < 2; ++i) ledger_.on_opened(run(0x10000000 + (i << 16), {2}, 0, 64 << 10, 1), 25);
  counters_.large.allocs = 11;
  counters_.large_alloc_bytes = (8 << 20) + 10 * (64 << 10);
  apply();
  EXPECT_NEAR(static_cast<double>(profile()[1].alloc_bytes), 8 << 20, 10);
  EXPECT_NEAR(static_cast<double>(profile()[2].alloc_bytes), 10 * (64 << 10), 10);
  collect();
  apply();
  EXPECT_NEAR(static_cast<double>(profile()[1].inuse_bytes), 8 << 20, 10);
  EXPECT_NEAR(static_cast<double>(profile()[2].inuse_bytes), 10 * (64 << 10), 10);
}

// Samples that the counters have not measured yet, and cuts of runs whose class was settled meanwhile, take nothing back.
TEST_F(SpanLedgerTest, AllocatedNeverFalls) {
  apply();
  uint64_t address = 0x1000;
  int64_t last = 0;
  const auto expect_grown = [&](int step) {
    int64_t bytes = 0;
    for (const auto& [site, values] : profile()) bytes += values.alloc_bytes;
    EXPECT_GE(bytes, last - 2) << step;  // each stack is rounded
    last = bytes;
  };
  uint64_t objects = 0;
  for (int step = 0; step < 60; ++step) {
    // Now and then enough to settle the class; then only corrections of what is settled.
    std::vector<model::SpanRunOpened> opened;
    for (int i = 0; i < (step % 5 == 0 ? 200 : 2); ++i) {
      opened.push_back(run(address += 0x2000, {10 + static_cast<uint64_t>(i % 2)}));
      ledger_.on_opened(opened.back(), step % 3 == 0 ? 30 : 1);
      if (i % 8 == 0) expect_grown(step);
    }
    allocate(kClass64, 50'000);
    objects += 50'000;
    apply();
    expect_grown(step);
    EXPECT_NEAR(static_cast<double>(last), 64.0 * static_cast<double>(objects), 2) << step;
    for (const auto& one : opened) ledger_.on_cut({1, now_, one.address, one.time_ns, 3});
    expect_grown(step);
    if (step % 4 != 0) continue;
    apply();
    expect_grown(step);
  }
}

TEST_F(SpanLedgerTest, SaysWhenInuseCannotBeTrusted) {
  apply();
  EXPECT_FALSE(ledger_.inuse_is_unreliable());
  SpanReading lossy = reading();
  lossy.liveness.due_verdicts = 1000;
  lossy.liveness.lost_verdicts = 9;
  ledger_.apply(lossy);
  EXPECT_FALSE(ledger_.inuse_is_unreliable());
  lossy.liveness.lost_verdicts = 300;
  lossy.liveness.missed_cycles = 2;
  ledger_.apply(lossy);
  EXPECT_TRUE(ledger_.inuse_is_unreliable());
  RawSnapshot snapshot;
  ledger_.fill(snapshot);
  const auto& comments = snapshot.comments;
  EXPECT_TRUE(std::any_of(comments.begin(), comments.end(), [](const std::string& text) {
    return text.find("unreliable") != std::string::npos;
  }));
  lossy.liveness.lost_verdicts = 0;
  for (int i = 0; i < 200; ++i) ledger_.apply(lossy);
  EXPECT_FALSE(ledger_.inuse_is_unreliable());
  EXPECT_EQ(ledger_.missed_cycles(), 402u);
  EXPECT_EQ(ledger_.lost_verdicts(), 309u);
}

// Whatever the ring holds, our memory and our sums stay what they are.
TEST_F(SpanLedgerTest, Bounds) {
  apply();
  for (uint64_t i = 0; i < SpanLedger::kMaxLiveRuns + 10; ++i) ledger_.on_opened(run(64 * i, {i % 7 + 1}));
  EXPECT_EQ(ledger_.tracked().size(), SpanLedger::kMaxLiveRuns);
  EXPECT_EQ(ledger_.untracked_runs(), 10u);
  EXPECT_EQ(ledger_.take_untracked_runs(), 10u);
  EXPECT_EQ(ledger_.take_untracked_runs(), 0u);
  for (uint64_t i = 0; i < SpanLedger::kMaxAccounts + 10; ++i) ledger_.on_opened(run(64 * i, {1000 + i}));
  EXPECT_EQ(ledger_.untracked_runs(), 10u + 17);
  ledger_.on_opened(run(1, {1}, 136 << 1));
  ledger_.on_opened(run(1, {1}, kSpan64, 0));
  ledger_.on_opened(run(1, {1}, kSpan64, 64, 0));
  EXPECT_EQ(ledger_.births(), SpanLedger::kMaxLiveRuns + SpanLedger::kMaxAccounts + 20);
  allocate(kClass64, 1'000'000);
  apply();
  int64_t sum = 0;
  for (const auto& [site, value] : profile()) sum += value.alloc_objects;
  // Each account is rounded to whole objects.
  EXPECT_NEAR(static_cast<double>(sum), 1e6, 0.5 * SpanLedger::kMaxAccounts);
}

}  // namespace
}  // namespace goheapd::profile
