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
      model::HeapValues& sum = values[site];
      sum.alloc_objects += sample.published.alloc_objects;
      sum.alloc_bytes += sample.published.alloc_bytes;
      sum.inuse_objects += sample.published.inuse_objects;
      sum.inuse_bytes += sample.published.inuse_bytes;
    }
    return values;
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

TEST_F(SpanLedgerTest, SplitOfASharedClass) {
  apply();
  for (uint64_t i = 0; i < 100; ++i) ledger_.on_opened(run(0x1000 + 64 * i, {10 + i % 2}));
  allocate(kClass64, 10'000);
  apply();
  std::map<uint64_t, uint64_t> hash_of;
  for (const auto& [hash, stack] : ledger_.take_unnamed_stacks()) hash_of[stack->front()] = hash;
  EXPECT_EQ(profile()[10].alloc_objects, 5000);
  ledger_.set_split(kSpan64, {{hash_of[10], 3}, {hash_of[11], 1}, {12345, 7}});
  for (uint64_t i = 0; i < 100; ++i) ledger_.on_opened(run(0x100000 + 64 * i, {10 + i % 2}));
  allocate(kClass64, 10'000);
  apply();
  EXPECT_NEAR(static_cast<double>(profile()[10].alloc_objects), 10'000 * (1 + 1.5) / 2, 2);
  EXPECT_TRUE(ledger_.take_unnamed_stacks().empty());
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
