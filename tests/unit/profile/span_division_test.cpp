// Classes that several stacks share, divided by windows in which every allocation was counted.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/profile/span_ledger_fixture.h"

namespace goheapd::profile {
namespace {

using SpanDivision = SpanLedgerTest;

// Two stacks in strict turns: all runs happen to be opened by one of them.
TEST_F(SpanDivision, AWindowDividesASharedClass) {
  apply();
  for (uint64_t i = 0; i < 100; ++i) ledger_.on_opened(run(0x1000 + 64 * i, {1, 2, i % 10 == 0 ? 11u : 10u}));
  allocate(kClass64, 10'000);
  apply();
  EXPECT_TRUE(ledger_.wants_windows());
  EXPECT_EQ(ledger_.unresolved_classes(), std::vector<uint32_t>{kSpan64});
  for (const auto& [hash, stack] : ledger_.take_unnamed_stacks())
    ledger_.name_stack(hash, model::AllocationKind::object, stack->back() == 10 ? "ten" : "eleven");
  EXPECT_EQ(ledger_.uncertain_sites(), (std::vector<std::string>{"eleven", "ten"}));
  EXPECT_EQ(profile_by_end()[10].alloc_objects, 9000);

  EXPECT_FALSE(ledger_.add_window(window({{10, 30}, {11, 90}})));  // too few to say
  EXPECT_EQ(ledger_.unresolved_classes(), std::vector<uint32_t>{kSpan64});
  EXPECT_EQ(profile_by_end()[10].alloc_objects, 9000);
  EXPECT_FALSE(ledger_.is_divided());
  EXPECT_TRUE(ledger_.add_window(window({{10, 100}, {11, 300}})));
  EXPECT_TRUE(ledger_.is_divided());
  EXPECT_TRUE(ledger_.unresolved_classes().empty());
  EXPECT_TRUE(ledger_.uncertain_sites().empty());
  EXPECT_EQ(ledger_.shared_classes(), std::vector<uint32_t>{kSpan64});
  // Also what was allocated before, and again what comes.
  EXPECT_EQ(profile_by_end()[10].alloc_objects, 2500);
  EXPECT_EQ(profile_by_end()[11].alloc_objects, 7500);
  for (uint64_t i = 0; i < 200; ++i) ledger_.on_opened(run(0x100000 + 64 * i, {1, 2, 10}));
  allocate(kClass64, 20'000);
  apply();
  EXPECT_EQ(profile_by_end()[10].alloc_objects, 7500);
  EXPECT_EQ(profile_by_end()[11].alloc_objects, 22'500);
  RawSnapshot snapshot;
  ledger_.fill(snapshot);
  for (const RawSample& sample : snapshot.samples) EXPECT_FALSE(sample.shares_class);
}

// In perfect lockstep one stack opens all runs, so that the other is known from the window only.
TEST_F(SpanDivision, AWindowFindsWhoNeverOpensARun) {
  apply();
  for (uint64_t i = 0; i < 100; ++i) ledger_.on_opened(run(0x1000 + 64 * i, {1, 2, 10}));
  allocate(kClass64, 10'000);
  apply();
  EXPECT_TRUE(ledger_.shared_classes().empty());
  EXPECT_TRUE(ledger_.wants_windows());
  EXPECT_EQ(ledger_.unresolved_classes(), std::vector<uint32_t>{kSpan64});
  EXPECT_FALSE(ledger_.add_window(window({{10, 250}, {11, 250}})));  // the first: nothing to agree with
  EXPECT_EQ(profile_by_end()[10].alloc_objects, 5000);
  EXPECT_EQ(profile_by_end()[11].alloc_objects, 5000);
  EXPECT_FALSE(ledger_.is_divided());
  EXPECT_TRUE(ledger_.add_window(window({{10, 250}, {11, 250}})));
  EXPECT_TRUE(ledger_.is_divided());
}

// What one moment has shown is a guess until another has shown the same.
TEST_F(SpanDivision, WindowsThatDisagreeLeaveAClassUnresolved) {
  apply();
  for (uint64_t i = 0; i < 100; ++i) ledger_.on_opened(run(0x1000 + 64 * i, {1, 2, 10 + i % 2}));
  allocate(kClass64, 10'000);
  apply();
  ledger_.add_window(window({{10, 500}, {11, 500}}));
  EXPECT_EQ(ledger_.unresolved_classes(), std::vector<uint32_t>{kSpan64});
  ledger_.add_window(window({{10, 500}, {11, 500}}));
  EXPECT_TRUE(ledger_.unresolved_classes().empty());
  ledger_.add_window(window({{10, 900}, {11, 100}}));
  EXPECT_EQ(ledger_.unresolved_classes(), std::vector<uint32_t>{kSpan64});
  EXPECT_FALSE(ledger_.is_divided());
}

// What a window does not know stays as it was sampled, and keeps the class unresolved.
TEST_F(SpanDivision, AWindowDoesNotDivideWhatItHasNotSeen) {
  apply();
  for (uint64_t i = 0; i < 100; ++i) ledger_.on_opened(run(0x1000 + 64 * i, {1, 2, 10 + i % 2}));
  allocate(kClass64, 10'000);
  apply();
  EXPECT_FALSE(ledger_.add_window(window({{10, 1000}})));
  EXPECT_EQ(profile_by_end()[10].alloc_objects, 5000);
  EXPECT_EQ(profile_by_end()[11].alloc_objects, 5000);
  EXPECT_EQ(ledger_.unresolved_classes(), std::vector<uint32_t>{kSpan64});
}

// Half of the objects live: all of one stack. Its runs and those of the other come by turns, or all are the other's.
TEST_F(SpanDivision, InUseFollowsWhoHolds) {
  for (const bool opens_any : {true, false}) {
    reset();
    apply();
    std::vector<model::SpanRunOpened> runs;
    for (uint64_t i = 0; i < 100; ++i) {
      runs.push_back(run(0x1000 + 64 * i, {1, 2, opens_any && i % 2 == 0 ? 10u : 11u}));
      ledger_.on_opened(runs.back());
    }
    allocate(kClass64, 12'800);
    for (int i = 0; i < 2; ++i) ledger_.add_window(window({{10, 500}, {11, 500}}));
    collect();
    free(kClass64, 6400);
    std::vector<model::TrackedObject> dead;
    for (const auto& opened : runs)
      if (opened.stack.back() == 11) dead.push_back(tracked(opened));
    apply(dead);
    auto values = profile_by_end();
    EXPECT_NEAR(static_cast<double>(values[10].alloc_objects), 6400, 2) << opens_any;
    EXPECT_NEAR(static_cast<double>(values[10].inuse_objects), 6400, 2) << opens_any;
    EXPECT_NEAR(static_cast<double>(values[11].inuse_objects), 0, 2) << opens_any;
    RawSnapshot snapshot;
    ledger_.fill(snapshot);
    for (const RawSample& sample : snapshot.samples) EXPECT_FALSE(sample.shares_class) << opens_any;
    int64_t in_use = 0;  // of all rows, those without a stack too
    for (const RawSample& sample : snapshot.samples) in_use += sample.published.inuse_objects;
    EXPECT_NEAR(static_cast<double>(in_use), 6400, 4) << opens_any;
  }
}

// Both hold what is recent. One of them opens runs for a moment only, of which nothing is left.
TEST_F(SpanDivision, AMomentDoesNotSpeakForAStack) {
  apply();
  std::vector<model::SpanRunOpened> runs;
  for (uint64_t i = 0; i < 100; ++i) {
    runs.push_back(run(0x1000 + 64 * i, {1, 2, i >= 20 && i < 30 ? 11u : 10u}));
    ledger_.on_opened(runs.back());
  }
  allocate(kClass64, 12'800);
  for (int i = 0; i < 2; ++i) ledger_.add_window(window({{10, 500}, {11, 500}}));
  collect();
  free(kClass64, 7040);
  std::vector<model::TrackedObject> dead;
  for (size_t i = 0; i < 55; ++i) dead.push_back(tracked(runs[i]));
  apply(dead);
  auto values = profile_by_end();
  EXPECT_NEAR(static_cast<double>(values[11].inuse_objects), 2880, 288);
  EXPECT_NEAR(static_cast<double>(values[10].inuse_objects), 2880, 288);
  // Of other stacks it would be true: that is said.
  RawSnapshot snapshot;
  ledger_.fill(snapshot);
  for (const RawSample& sample : snapshot.samples) {
    EXPECT_EQ(sample.shares_class, !sample.stack->empty());
  }
}

// The first slice begins: until the next cycle, in use is what it was.
TEST_F(SpanDivision, InUseStaysWhenSlicesBegin) {
  apply();
  for (uint64_t i = 0; i < 100; ++i) ledger_.on_opened(run(0x1000 + 64 * i, {1, 2, 10 + i % 2}));
  allocate(kClass64, 12'800);
  for (int i = 0; i < 2; ++i) ledger_.add_window(window({{10, 500}, {11, 500}}));
  collect();
  apply();
  const auto before = profile_by_end();
  EXPECT_NEAR(static_cast<double>(before.at(10).inuse_objects), 6400, 2);
  ledger_.on_opened(run(0x100000, {1, 2, 10}), 25);
  EXPECT_EQ(profile_by_end()[10].inuse_objects, before.at(10).inuse_objects);
  EXPECT_EQ(profile_by_end()[11].inuse_objects, before.at(11).inuse_objects);
}

// A window came before the second stack had opened a run. From then on it opens them all: what dies is its own.
TEST_F(SpanDivision, InUseOfAStackThatOpensRunsAfterAWindow) {
  apply();
  for (uint64_t i = 0; i < 20; ++i) ledger_.on_opened(run(0x1000 + 64 * i, {1, 2, 10}));
  ledger_.add_window(window({{10, 500}, {11, 500}}));
  std::vector<model::TrackedObject> dead;
  for (uint64_t i = 0; i < 80; ++i) {
    const model::SpanRunOpened opened = run(0x100000 + 64 * i, {1, i % 2 == 0 ? 2u : 3u, 11});
    dead.push_back(tracked(opened));
    ledger_.on_opened(opened);
  }
  allocate(kClass64, 12'800);
  collect();
  free(kClass64, 6400);
  apply(dead);
  auto values = profile_by_end();
  EXPECT_NEAR(static_cast<double>(values[11].alloc_objects), 6400, 2);
  EXPECT_NEAR(static_cast<double>(values[10].inuse_objects), 6400, 2);
  EXPECT_NEAR(static_cast<double>(values[11].inuse_objects), 0, 2);
}

// Mode exact beside the samples: all is counted from before the first reading on, so that no time is unlike what was seen.
TEST_F(SpanDivision, CountsDivideWhatIsInUse) {
  ledger_.set_alloc_counted_elsewhere(true);
  apply();
  std::vector<model::TrackedObject> dead;
  for (uint64_t i = 0; i < 100; ++i) {
    const model::SpanRunOpened opened = run(0x1000 + 64 * i, {1, 2, i % 10 == 0 ? 11u : 10u});
    if (i / 10 % 2 == 1) dead.push_back(tracked(opened));
    ledger_.on_opened(opened);
  }
  allocate(kClass64, 12'800);
  collect();
  free(kClass64, 6400);
  ledger_.apply(reading(dead), {.amounts = {}, .all = true});
  EXPECT_EQ(ledger_.unresolved_classes(), std::vector<uint32_t>{kSpan64});
  ledger_.add_period(window({{10, 3200}, {11, 9600}}));
  EXPECT_TRUE(ledger_.unresolved_classes().empty());
  EXPECT_TRUE(ledger_.is_divided());
  auto values = profile_by_end();
  EXPECT_NEAR(static_cast<double>(values[10].inuse_objects), 1600, 100);
  EXPECT_NEAR(static_cast<double>(values[11].inuse_objects), 4800, 100);
  EXPECT_EQ(values[10].alloc_objects + values[11].alloc_objects, 0);
  RawSnapshot snapshot;
  EXPECT_EQ(ledger_.fill(snapshot), 0u);
  EXPECT_TRUE(std::any_of(snapshot.comments.begin(), snapshot.comments.end(), [](const std::string& text) {
    return text.find("as the counts of mode exact say") != std::string::npos;
  }));
}

// Counting began when much was there already: one period may be unlike what came before.
TEST_F(SpanDivision, CountsThatBeginLaterAreToBeConfirmed) {
  apply();
  for (uint64_t i = 0; i < 100; ++i) ledger_.on_opened(run(0x1000 + 64 * i, {1, 2, 10 + i % 2}));
  allocate(kClass64, 12'800);
  apply();
  ledger_.set_alloc_counted_elsewhere(true);
  ledger_.add_period(window({{10, 1000}, {11, 3000}}));
  EXPECT_EQ(ledger_.unresolved_classes(), std::vector<uint32_t>{kSpan64});
  EXPECT_EQ(profile_by_end()[10].alloc_objects, 3200);
  ledger_.add_period(window({{10, 1000}, {11, 3000}}));
  EXPECT_TRUE(ledger_.unresolved_classes().empty());
}

// A program that was counted while it started: what it has allocated since may be by others.
TEST_F(SpanDivision, AClassThatHasGrownByAMultipleIsToBeCountedAgain) {
  const auto open = [this](uint64_t from, uint64_t runs) {
    for (uint64_t i = from; i < from + runs; ++i) ledger_.on_opened(run(0x1000 + 64 * i, {1, 2, 10 + i % 2}));
    allocate(kClass64, runs * kPlanned);
    apply();
  };
  apply();
  open(0, 100);
  for (int i = 0; i < 2; ++i) ledger_.add_window(window({{10, 500}, {11, 500}}));
  EXPECT_TRUE(ledger_.is_divided());
  open(100, 200);
  EXPECT_TRUE(ledger_.is_divided());
  open(300, 200);
  EXPECT_EQ(ledger_.unresolved_classes(), std::vector<uint32_t>{kSpan64});
  EXPECT_FALSE(ledger_.is_divided());
  ledger_.add_window(window({{10, 500}, {11, 500}}));
  EXPECT_TRUE(ledger_.is_divided());
}

// Little was opened by a stack that no window has seen, and yet it may have half of what is in use.
TEST_F(SpanDivision, WhoeverHoldsMuchMustBeKnown) {
  apply();
  std::vector<model::TrackedObject> dead;
  for (uint64_t i = 0; i < 100; ++i) {
    const bool is_known = i >= 5;
    const model::SpanRunOpened opened = run(0x1000 + 64 * i, {1, 2, is_known ? 10 + i % 2 : 12});
    if (is_known && i < 95) dead.push_back(tracked(opened));
    ledger_.on_opened(opened);
  }
  allocate(kClass64, 12'800);
  for (int i = 0; i < 2; ++i) ledger_.add_window(window({{10, 500}, {11, 500}}));
  apply();
  EXPECT_TRUE(ledger_.unresolved_classes().empty());
  collect();
  free(kClass64, 11'520);
  apply(dead);
  EXPECT_EQ(ledger_.unresolved_classes(), std::vector<uint32_t>{kSpan64});
}

}  // namespace
}  // namespace goheapd::profile
