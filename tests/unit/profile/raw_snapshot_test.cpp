// Differences of two snapshots of one process.
#include "daemon/profile/raw_snapshot.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "daemon/profile/bucket_ledger.h"
#include "tests/unit/profile/span_ledger_fixture.h"

namespace goheapd::profile {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;

model::BucketReading reading(uint64_t at, std::vector<model::BucketRecord> buckets) {
  model::BucketReading result;
  result.begin_ns = at;
  result.end_ns = at + 1000;
  result.sample_rate = 1;
  result.consistent = true;
  result.buckets = std::move(buckets);
  return result;
}

model::BucketRecord bucket(uint64_t address, model::ObjectCounts published, model::ObjectCounts fresh) {
  return {address, 100, {0x1000 + address, 0x2000}, published, fresh};
}

TEST(Difference, AllocatesNowAndPublishedInuse) {
  BucketLedger ledger(true);
  RawSnapshot begin;
  RawSnapshot end;
  ledger.apply(reading(kSecond, {bucket(1, {10, 4}, {12, 4}), bucket(2, {5, 5}, {5, 5})}), {});
  ledger.fill(begin);
  ledger.apply(reading(2 * kSecond,
                       {bucket(1, {12, 9}, {20, 9}), bucket(2, {5, 5}, {5, 5}), bucket(3, {0, 0}, {1, 0})}),
               {});
  ledger.fill(end);
  auto delta = difference(end, begin);
  ASSERT_TRUE(delta);
  ASSERT_EQ(delta->samples.size(), 2u);
  std::sort(delta->samples.begin(), delta->samples.end(), [](auto& a, auto& b) { return a.key < b.key; });
  EXPECT_EQ(delta->samples[0].published, (model::HeapValues{8, 800, -3, -300}));
  EXPECT_EQ(delta->samples[1].published, (model::HeapValues{1, 100, 0, 0}));
  begin.process.pid = 99;
  EXPECT_FALSE(difference(end, begin));
}

// Books that began in between have none of what came before: their difference to the old ones is that of two programs.
TEST(Difference, OfBooksThatBeganAnewIsNone) {
  RawSnapshot begin;
  RawSnapshot end;
  begin.source = end.source = "spans";
  begin.books = 1;
  end.books = 2;
  const auto refused = difference(end, begin);
  ASSERT_FALSE(refused);
  EXPECT_NE(to_string(refused.error()).find("try again"), std::string::npos) << to_string(refused.error());
  end.books = 1;
  EXPECT_TRUE(difference(end, begin));
}

// The runtime's own records are the same to whoever reads them, unless some were left out for others' counts.
TEST(Difference, OfTheRuntimesRecordsGoesOnInNewBooks) {
  RawSnapshot begin;
  RawSnapshot end;
  BucketLedger first(true);
  first.apply(reading(kSecond, {bucket(1, {10, 4}, {12, 4})}), {});
  first.fill(begin);
  BucketLedger second(true);
  second.apply(reading(2 * kSecond, {bucket(1, {12, 9}, {20, 9})}), {});
  second.fill(end);
  begin.books = 1;
  end.books = 2;
  begin.is_of_records = end.is_of_records = true;
  const auto delta = difference(end, begin);
  ASSERT_TRUE(delta);
  ASSERT_EQ(delta->samples.size(), 1u);
  EXPECT_EQ(delta->samples[0].published, (model::HeapValues{8, 800, -3, -300}));
  begin.is_of_records = false;
  EXPECT_FALSE(difference(end, begin));
}

using DifferenceOfSpans = SpanLedgerTest;

// What had no sample is given to the first stack of its class that is sampled: it was not allocated again.
TEST_F(DifferenceOfSpans, WhatGetsAStackLaterCountsOnce) {
  apply();
  allocate(kClass64, 1000);
  apply();
  RawSnapshot begin;
  ledger_.fill(begin);
  ledger_.on_opened(run(0x1000, {10}));
  allocate(kClass64, 128);
  apply();
  RawSnapshot end;
  ledger_.fill(end);
  const auto delta = difference(end, begin);
  ASSERT_TRUE(delta);
  model::HeapValues sum;
  int64_t of_stack = 0;
  for (const RawSample& sample : delta->samples) {
    add(sum, sample.published);
    EXPECT_GE(sample.published.alloc_objects, 0);
    if (!sample.stack->empty()) of_stack += sample.published.alloc_objects;
  }
  EXPECT_EQ(sum.alloc_objects, 128);
  EXPECT_EQ(sum.alloc_bytes, 128 * 64);
  EXPECT_EQ(of_stack, 128) << "the rest was allocated before";
}

// Whatever is done to the wall clock meanwhile.
TEST(Difference, TakesAsLongAsTheClockThatNobodySetsSays) {
  constexpr int64_t kStep = 1'000'000'000;
  RawSnapshot begin;
  RawSnapshot end;
  begin.start_boot_ns = end.start_boot_ns = kStep;
  begin.end_boot_ns = 10 * kStep;
  begin.end_wall_ns = 1000 * kStep;
  end.end_boot_ns = 13 * kStep;
  end.end_wall_ns = 864'000 * kStep;
  const auto delta = difference(end, begin);
  ASSERT_TRUE(delta);
  EXPECT_EQ(delta->end_boot_ns - delta->start_boot_ns, 3 * kStep);
  EXPECT_EQ(delta->end_wall_ns, 864'000 * kStep);
}

}  // namespace
}  // namespace goheapd::profile
