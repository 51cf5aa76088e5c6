#include "daemon/profile/bucket_ledger.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace goheapd::profile {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;

model::BucketReading reading(uint64_t at, std::vector<model::BucketRecord> buckets, uint64_t rate = 1) {
  model::BucketReading result;
  result.begin_ns = at;
  result.end_ns = at + 1000;
  result.sample_rate = rate;
  result.consistent = true;
  result.buckets = std::move(buckets);
  return result;
}

model::BucketRecord bucket(uint64_t address, model::ObjectCounts published, model::ObjectCounts fresh,
                           uint64_t size = 100) {
  return {address, size, {0x1000 + address, 0x2000}, published, fresh};
}

RawSnapshot snapshot_of(const BucketLedger& ledger) {
  RawSnapshot snapshot;
  ledger.fill(snapshot);
  return snapshot;
}

TEST(BucketLedger, ServesWhatTheRuntimePublishes) {
  BucketLedger ledger(true);
  ledger.apply(reading(kSecond, {bucket(1, {10, 4}, {12, 5})}), {});
  const RawSnapshot snapshot = snapshot_of(ledger);
  ASSERT_EQ(snapshot.samples.size(), 1u);
  EXPECT_EQ(snapshot.samples[0].published, (model::HeapValues{10, 1000, 6, 600}));
  EXPECT_EQ(snapshot.samples[0].now_alloc_objects, 12);
  EXPECT_EQ(*snapshot.samples[0].stack, (std::vector<uint64_t>{0x1001, 0x2000}));
}

TEST(BucketLedger, EventsMoveTheLiveHeapBetweenReadings) {
  BucketLedger ledger(true);
  ledger.apply(reading(kSecond, {bucket(1, {10, 4}, {10, 4})}), {});
  EXPECT_DOUBLE_EQ(ledger.live_objects(), 6);
  ledger.on_birth({1, 2 * kSecond, 0xc000, 1, 7});
  ledger.on_birth({1, 2 * kSecond, 0xc100, 1, 7});
  ledger.on_death({1, 3 * kSecond, 0xc000, 1, 100});
  EXPECT_DOUBLE_EQ(ledger.live_objects(), 7);
  EXPECT_DOUBLE_EQ(ledger.live_bytes(), 700);
  EXPECT_EQ(snapshot_of(ledger).samples[0].now_alloc_objects, 12);
}

TEST(BucketLedger, AgreementSettlesNothing) {
  BucketLedger ledger(true);
  ledger.apply(reading(kSecond, {bucket(1, {10, 4}, {10, 4})}), {});
  ledger.on_birth({1, 2 * kSecond, 0xc000, 1, 7});
  ledger.on_death({1, 3 * kSecond, 0xb000, 1, 100});
  ledger.apply(reading(5 * kSecond, {bucket(1, {10, 4}, {11, 5})}), {});
  EXPECT_EQ(ledger.settled_objects(), 0u);
  EXPECT_DOUBLE_EQ(ledger.live_objects(), 6);
}

TEST(BucketLedger, DifferencesAreCountedAndTheReadingWins) {
  BucketLedger ledger(true);
  ledger.apply(reading(kSecond, {bucket(1, {10, 4}, {10, 4})}), {});
  ledger.on_birth({1, 2 * kSecond, 0xc000, 1, 7});
  // The runtime says three births and two deaths; we saw one birth: 2 + 2 objects off.
  ledger.apply(reading(5 * kSecond, {bucket(1, {13, 6}, {13, 6})}), {});
  EXPECT_EQ(ledger.settled_objects(), 4u);
  EXPECT_DOUBLE_EQ(ledger.live_objects(), 7);
}

TEST(BucketLedger, EventsDuringAReadingMayFallOnEitherSide) {
  for (uint64_t counted : {10u, 11u}) {
    BucketLedger ledger(true);
    ledger.apply(reading(kSecond, {bucket(1, {10, 4}, {10, 4})}), {});
    ledger.on_birth({1, 5 * kSecond + 500, 0xc000, 1, 7});
    ledger.apply(reading(5 * kSecond, {bucket(1, {10, 4}, {counted, 4})}), {});
    ledger.apply(reading(9 * kSecond, {bucket(1, {10, 4}, {11, 4})}), {});
    EXPECT_EQ(ledger.settled_objects(), 0u) << counted;
  }
}

TEST(BucketLedger, ABirthInABucketNotYetReadIsRemembered) {
  BucketLedger ledger(true);
  ledger.apply(reading(kSecond, {}), {});
  ledger.on_birth({1, 2 * kSecond, 0xc000, 9, 7});
  EXPECT_TRUE(ledger.has_unknown_buckets());
  ledger.apply(reading(5 * kSecond, {bucket(9, {0, 0}, {1, 0})}),
               {{9, model::AllocationKind::slice, "main.f"}});
  EXPECT_FALSE(ledger.has_unknown_buckets());
  EXPECT_EQ(ledger.settled_objects(), 0u);
  EXPECT_DOUBLE_EQ(ledger.alloc_bytes()[static_cast<size_t>(model::AllocationKind::slice)], 100);
  EXPECT_DOUBLE_EQ(ledger.live_bytes(), 100);
}

TEST(BucketLedger, OvertakenReadingsAreIgnored) {
  BucketLedger ledger(true);
  ledger.apply(reading(5 * kSecond, {bucket(1, {20, 4}, {20, 4})}), {});
  ledger.apply(reading(2 * kSecond, {bucket(1, {10, 4}, {10, 4})}), {});
  EXPECT_EQ(snapshot_of(ledger).samples[0].published.alloc_objects, 20);
}

TEST(BucketLedger, CountersCountFromTheFirstReadingAndNeverFall) {
  BucketLedger ledger(true);
  const std::vector<BucketSite> sites{{1, model::AllocationKind::object, "main.f"}};
  ledger.apply(reading(kSecond, {bucket(1, {10, 4}, {10, 4})}), sites);
  const auto object = static_cast<size_t>(model::AllocationKind::object);
  EXPECT_DOUBLE_EQ(ledger.alloc_bytes()[object], 0);
  ledger.on_birth({1, 2 * kSecond, 0xc000, 1, 7});
  EXPECT_DOUBLE_EQ(ledger.alloc_bytes()[object], 100);
  ledger.apply(reading(5 * kSecond, {bucket(1, {10, 4}, {10, 4})}), {});
  EXPECT_DOUBLE_EQ(ledger.alloc_bytes()[object], 100);
  ledger.apply(reading(6 * kSecond, {bucket(1, {15, 4}, {15, 4})}), {});
  EXPECT_DOUBLE_EQ(ledger.alloc_bytes()[object], 500);
  const auto totals = ledger.sites();
  const auto site =
      std::find_if(totals.begin(), totals.end(), [](const SiteTotals& t) { return t.function == "main.f"; });
  ASSERT_NE(site, totals.end());
  EXPECT_DOUBLE_EQ(site->live_bytes, 1100);
  EXPECT_DOUBLE_EQ(site->alloc_bytes, 500);
}

// 10 before, 5 while another source counts, 3 after that, then 4 more in a second such period.
TEST(BucketLedger, AllocationsCountedElsewhereAreLeftOut) {
  BucketLedger ledger(true);
  ledger.apply(reading(kSecond, {bucket(1, {8, 4}, {10, 4})}), {{1, model::AllocationKind::map, "f"}});
  ledger.set_alloc_counted_elsewhere(true);
  for (int i = 0; i < 5; ++i) ledger.on_birth({1, 2 * kSecond, 0xc000u + static_cast<uint64_t>(i), 1, 7});
  EXPECT_EQ(snapshot_of(ledger).samples[0].now_alloc_objects, 10);
  EXPECT_EQ(ledger.alloc_objects()[static_cast<size_t>(model::AllocationKind::map)], 0);
  EXPECT_DOUBLE_EQ(ledger.live_objects(), 11);  // inuse goes on
  ledger.set_alloc_counted_elsewhere(false);
  for (int i = 0; i < 3; ++i) ledger.on_birth({1, 3 * kSecond, 0xd000u + static_cast<uint64_t>(i), 1, 7});
  EXPECT_EQ(snapshot_of(ledger).samples[0].now_alloc_objects, 13);
  EXPECT_EQ(ledger.alloc_objects()[static_cast<size_t>(model::AllocationKind::map)], 3);
  ledger.set_alloc_counted_elsewhere(true);
  // A bucket that is new while another counts has nothing to add, in this reading and for ever.
  ledger.apply(reading(4 * kSecond, {bucket(1, {18, 4}, {22, 4}), bucket(2, {0, 0}, {6, 0})}), {});
  ledger.set_alloc_counted_elsewhere(false);
  ledger.apply(reading(5 * kSecond, {bucket(1, {22, 4}, {23, 4}), bucket(2, {6, 0}, {7, 0})}), {});
  const RawSnapshot snapshot = snapshot_of(ledger);
  ASSERT_EQ(snapshot.samples.size(), 2u);
  for (const RawSample& sample : snapshot.samples) {
    const bool first = sample.key.stack == 1;
    EXPECT_EQ(sample.now_alloc_objects, first ? 14 : 1);
    EXPECT_EQ(sample.published.alloc_objects, first ? 14 : 1);
    EXPECT_EQ(sample.published.inuse_objects, first ? 18 : 6);
  }
  EXPECT_EQ(ledger.alloc_objects()[static_cast<size_t>(model::AllocationKind::map)], 4);
  const auto sites = ledger.sites();
  EXPECT_DOUBLE_EQ(
      std::find_if(sites.begin(), sites.end(), [](const auto& s) { return s.function == "f"; })->alloc_bytes,
      400);
}

}  // namespace
}  // namespace goheapd::profile
