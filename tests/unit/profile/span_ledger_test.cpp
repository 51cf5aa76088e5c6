#include "daemon/profile/span_ledger.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

namespace goheapd::profile {
namespace {

constexpr uint64_t kMean = 64 * 1024;
constexpr uint32_t kClass64 = 6;  // size class of 64 bytes
constexpr uint32_t kSpan64 = kClass64 << 1;
constexpr uint32_t kPlanned = 128;
constexpr uint64_t kMillisecond = 1'000'000;

// A program whose allocator we play: what it does is known, what the ledger says is compared.
class SpanLedgerTest : public testing::Test {
 protected:
  model::SpanRunOpened run(uint64_t address, std::vector<uint64_t> stack, uint32_t span_class = kSpan64,
                           uint64_t object_bytes = 64, uint32_t planned = kPlanned) {
    model::SpanRunOpened opened;
    opened.time_ns = now_ += 1000;
    opened.address = address;
    opened.span_class = span_class;
    opened.object_bytes = object_bytes;
    opened.planned_objects = planned;
    opened.mean_distance = kMean;
    opened.sweepgen = sweepgen_;
    opened.stack = std::move(stack);
    return opened;
  }
  void allocate(uint32_t size_class, uint64_t objects) { counters_.small[size_class].allocs += objects; }
  void free(uint32_t size_class, uint64_t objects) { counters_.small[size_class].frees += objects; }
  // A garbage collection ends and all is swept.
  void collect() {
    // Long after the reading before, so that nothing counts as allocated between this and the next reading.
    ledger_.on_cycle({1, now_ += 3'600'000 * kMillisecond, false});
    sweepgen_ += 2;
  }
  SpanReading reading(std::vector<model::TrackedObject> dead = {}) {
    SpanReading reading;
    reading.counters = counters_;
    reading.counters.begin_ns = now_ += 1;
    reading.counters.end_ns = now_;
    reading.liveness.sweepgen = sweepgen_;
    reading.liveness.dead = std::move(dead);
    reading.swept = true;
    return reading;
  }
  void apply(std::vector<model::TrackedObject> dead = {}) { ledger_.apply(reading(std::move(dead))); }
  static model::TrackedObject tracked(const model::SpanRunOpened& run) {
    return {run.address, run.time_ns, run.sweepgen};
  }
  // By innermost address; 0 = before goheapd attached, 1 = not sampled.
  std::map<uint64_t, model::HeapValues> profile() const {
    RawSnapshot snapshot;
    ledger_.fill(snapshot);
    EXPECT_TRUE(snapshot.is_scaled);
    std::map<uint64_t, model::HeapValues> values;
    for (const RawSample& sample : snapshot.samples) {
      const uint64_t site = sample.stack->empty()
                                ? (sample.note.find("attached") != std::string_view::npos ? 0 : 1)
                                : sample.stack->front();
      add(values[site], sample.published);
    }
    return values;
  }

  // The same by outermost address.
  std::map<uint64_t, model::HeapValues> profile_by_end() const {
    RawSnapshot snapshot;
    ledger_.fill(snapshot);
    std::map<uint64_t, model::HeapValues> values;
    for (const RawSample& sample : snapshot.samples)
      if (!sample.stack->empty()) add(values[sample.stack->back()], sample.published);
    return values;
  }
  static void add(model::HeapValues& sum, const model::HeapValues& values) {
    sum.alloc_objects += values.alloc_objects;
    sum.alloc_bytes += values.alloc_bytes;
    sum.inuse_objects += values.inuse_objects;
    sum.inuse_bytes += values.inuse_bytes;
  }
  // Objects of 64 bytes that a window has counted, by the only frame of their stacks.
  ExactWindow window(const std::map<uint64_t, uint64_t>& objects) {
    ExactWindow window;
    window.time_ns = now_ += kMillisecond;
    for (const auto& [frame, number] : objects) {
      window.stacks.push_back({.pid = 1, .stack_hash = frame, .truncated = false, .stack = {frame}});
      model::ExactCount& count = window.counts.emplace_back();
      count.stack_hash = frame;
      count.size_class = kClass64;
      count.objects = number;
    }
    return window;
  }
  void reset() {
    ledger_ = {};
    counters_ = {};
  }

  SpanLedger ledger_;
  model::HeapStatsReading counters_;
  uint32_t sweepgen_ = 20;
  uint64_t now_ = 1'000'000;
};

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

// Where samples are taken for part of the time only, each stands for the time without, too.
TEST_F(SpanLedgerTest, SamplesOfSlicesStandForTheTimeBetweenThem) {
  apply();
  ledger_.on_opened(run(0x1000, {10}));
  const auto slice = run(0x2000, {11});
  ledger_.on_opened(slice, 9);
  allocate(kClass64, 10'000);
  collect();
  free(kClass64, 5000);
  apply();
  auto values = profile();
  EXPECT_EQ(values[10].alloc_objects, 1000);
  EXPECT_EQ(values[11].alloc_objects, 9000);
  EXPECT_EQ(values[10].inuse_objects, 500);
  EXPECT_EQ(values[11].inuse_objects, 4500);
  // Half of it was taken from its owner.
  ledger_.on_cut({1, now_, slice.address, slice.time_ns, kPlanned / 2});
  allocate(kClass64, 1000);
  apply();
  EXPECT_EQ(profile()[10].alloc_objects, 2000);
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
  EXPECT_EQ(values[0].inuse_objects + values[10].inuse_objects, 150'000);
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

// Random runs of three stacks, sampled as the probes do: each stack gets its share, the sum is exact, and differences
// of two moments are too, however long ago the first samples were.
TEST_F(SpanLedgerTest, UnbiasedOverManyRuns) {
  std::mt19937_64 random(7);
  std::exponential_distribution<double> exponential(1.0);
  std::map<uint64_t, uint64_t> truth;
  apply();
  double countdown = exponential(random);
  std::map<uint64_t, model::HeapValues> middle;
  std::map<uint64_t, uint64_t> truth_of_middle;
  constexpr int kRuns = 200'000;
  for (int i = 0; i < kRuns; ++i) {
    const uint64_t pick = random() % 10;
    const uint64_t site = pick < 6 ? 10 : pick < 9 ? 11 : 12;
    const uint32_t planned = 1 + static_cast<uint32_t>(random() % 128);
    const auto used = random() % 3 == 0 ? 1 + static_cast<uint32_t>(random() % planned) : planned;
    truth[site] += used;
    allocate(kClass64, used);
    countdown -= static_cast<double>(planned) * 64 / kMean;
    if (countdown < 0) {
      countdown = exponential(random);
      const auto opened = run(0x1000 + 64 * static_cast<uint64_t>(i), {site}, kSpan64, 64, planned);
      ledger_.on_opened(opened);
      if (used < planned) ledger_.on_cut({1, now_, opened.address, opened.time_ns, used});
    }
    if (i % 5000 == 4999) apply();
    if (i == kRuns / 2 + 4999) {
      middle = profile();
      truth_of_middle = truth;
    }
  }
  apply();
  auto values = profile();
  const uint64_t total = truth[10] + truth[11] + truth[12];
  int64_t sum = 0;
  for (auto& [site, value] : values) sum += value.alloc_objects;
  EXPECT_NEAR(static_cast<double>(sum), static_cast<double>(total), 10);
  // About 10,000 of the runs are sampled: a tenth of them makes 3 % of one standard deviation; five of these.
  for (const uint64_t site : {10, 11, 12}) {
    const auto expected = static_cast<double>(truth[site]);
    EXPECT_NEAR(static_cast<double>(values[site].alloc_objects) / expected, 1, 0.16) << site;
    const auto grown = static_cast<double>(truth[site] - truth_of_middle[site]);
    EXPECT_NEAR(static_cast<double>(values[site].alloc_objects - middle[site].alloc_objects) / grown, 1, 0.25)
        << site;
  }
  EXPECT_EQ(ledger_.shared_classes(), std::vector<uint32_t>{kSpan64});
  RawSnapshot snapshot;
  ledger_.fill(snapshot);
  for (const RawSample& sample : snapshot.samples)
    EXPECT_EQ(sample.shares_class, !sample.stack->empty()) << sample.note;
}

// Two stacks in strict turns: all runs happen to be opened by one of them.
TEST_F(SpanLedgerTest, AWindowDividesASharedClass) {
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
TEST_F(SpanLedgerTest, AWindowFindsWhoNeverOpensARun) {
  apply();
  for (uint64_t i = 0; i < 100; ++i) ledger_.on_opened(run(0x1000 + 64 * i, {1, 2, 10}));
  allocate(kClass64, 10'000);
  apply();
  EXPECT_TRUE(ledger_.shared_classes().empty());
  EXPECT_TRUE(ledger_.wants_windows());
  EXPECT_EQ(ledger_.unresolved_classes(), std::vector<uint32_t>{kSpan64});
  EXPECT_FALSE(ledger_.add_window(window({{10, 250}, {11, 250}})));  // the first: nothing to agree with
  EXPECT_TRUE(ledger_.is_divided());
  EXPECT_EQ(profile_by_end()[10].alloc_objects, 5000);
  EXPECT_EQ(profile_by_end()[11].alloc_objects, 5000);
  EXPECT_TRUE(ledger_.add_window(window({{10, 250}, {11, 250}})));
}

// What a window does not know stays as it was sampled, and keeps the class unresolved.
TEST_F(SpanLedgerTest, AWindowDoesNotDivideWhatItHasNotSeen) {
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
TEST_F(SpanLedgerTest, InUseFollowsWhoHolds) {
  for (const bool opens_any : {true, false}) {
    reset();
    apply();
    std::vector<model::SpanRunOpened> runs;
    for (uint64_t i = 0; i < 100; ++i) {
      runs.push_back(run(0x1000 + 64 * i, {1, 2, opens_any && i % 2 == 0 ? 10u : 11u}));
      ledger_.on_opened(runs.back());
    }
    allocate(kClass64, 12'800);
    ledger_.add_window(window({{10, 500}, {11, 500}}));
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
    // Had all of a run lived as long as its first object, it would be half each.
    RawSnapshot snapshot;
    ledger_.fill(snapshot);
    const bool is_flagged = std::any_of(snapshot.samples.begin(), snapshot.samples.end(),
                                        [](const RawSample& sample) { return sample.shares_class; });
    EXPECT_EQ(is_flagged, opens_any);
  }
}

// A window came before the second stack had opened a run. From then on it opens them all: what dies is its own.
TEST_F(SpanLedgerTest, InUseOfAStackThatOpensRunsAfterAWindow) {
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
