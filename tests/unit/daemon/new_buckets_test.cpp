#include "daemon/new_buckets.h"

#include <gtest/gtest.h>

#include <utility>

namespace goheapd {
namespace {

struct Reading {
  model::BucketReading buckets;
  std::vector<profile::BucketSite> sites;
  uint64_t described = 0;
};

// A reading that has all of `known`, and of which `fresh` come with their stacks for the first time.
Reading reading_of(NewBuckets& new_buckets, const std::vector<uint64_t>& known,
                   const std::vector<uint64_t>& fresh, uint64_t at) {
  Reading reading;
  reading.buckets.begin_ns = at;
  reading.buckets.end_ns = at + 1;
  reading.buckets.sample_rate = 1;
  reading.buckets.consistent = true;
  for (const uint64_t address : known) reading.buckets.buckets.push_back({address, 16, {}, {1, 0}, {1, 0}});
  for (const uint64_t address : fresh) {
    reading.buckets.buckets.push_back({address, 16, {address * 10}, {1, 0}, {1, 0}});
    reading.sites.push_back({address, model::AllocationKind::slice, "main.f" + std::to_string(address)});
  }
  reading.described = new_buckets.complete(reading.buckets, reading.sites);
  return reading;
}

std::vector<uint64_t> with_stack(const Reading& reading) {
  std::vector<uint64_t> addresses;
  for (const model::BucketRecord& record : reading.buckets.buckets) {
    if (record.stack == std::vector<uint64_t>{record.address * 10}) addresses.push_back(record.address);
  }
  return addresses;
}

TEST(NewBuckets, StacksThatAreAdoptedComeOnce) {
  NewBuckets new_buckets;
  const Reading first = reading_of(new_buckets, {}, {1, 2}, 100);
  EXPECT_EQ(with_stack(first), (std::vector<uint64_t>{1, 2}));
  EXPECT_EQ(new_buckets.waiting(), 2u);
  new_buckets.adopted(first.described);
  EXPECT_EQ(new_buckets.waiting(), 0u);
  const Reading second = reading_of(new_buckets, {1, 2}, {3}, 200);
  EXPECT_EQ(with_stack(second), std::vector<uint64_t>{3});
  EXPECT_EQ(second.sites.size(), 1u);
}

TEST(NewBuckets, AReadingThatOvertakesBringsAllThatTheBooksLack) {
  NewBuckets new_buckets;
  const Reading slow = reading_of(new_buckets, {}, {1, 2}, 100);
  const Reading fast = reading_of(new_buckets, {1, 2}, {3}, 200);
  EXPECT_EQ(with_stack(fast), (std::vector<uint64_t>{1, 2, 3}));
  EXPECT_EQ(fast.sites.size(), 3u);

  profile::BucketLedger ledger(false);
  ledger.apply(fast.buckets, fast.sites);
  new_buckets.adopted(fast.described);
  profile::RawSnapshot snapshot;
  ledger.fill(snapshot);
  ASSERT_EQ(snapshot.samples.size(), 3u);
  for (const profile::RawSample& sample : snapshot.samples) EXPECT_FALSE(sample.stack->empty());

  ledger.apply(slow.buckets, slow.sites);
  new_buckets.adopted(slow.described);  // says less than what is known already
  EXPECT_EQ(new_buckets.waiting(), 0u);
}

TEST(NewBuckets, AReadingThatIsDroppedLosesNoStack) {
  NewBuckets new_buckets;
  reading_of(new_buckets, {}, {1}, 100);
  const Reading second = reading_of(new_buckets, {1}, {2}, 200);
  new_buckets.adopted(second.described);
  const Reading third = reading_of(new_buckets, {1, 2}, {3}, 300);
  EXPECT_EQ(with_stack(second), (std::vector<uint64_t>{1, 2}));
  EXPECT_EQ(with_stack(third), std::vector<uint64_t>{3});
}

}  // namespace
}  // namespace goheapd
