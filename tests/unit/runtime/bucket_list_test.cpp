#include "daemon/runtime/bucket_list.h"

#include <gtest/gtest.h>

#include "tests/unit/runtime/fake_runtime.h"

namespace goheapd::runtime {
namespace {

class BucketListTest : public testing::Test {
 protected:
  uint64_t add(uint64_t depth, uint64_t size) {
    std::vector<uint64_t> stack;
    for (uint64_t i = 0; i < depth; ++i) stack.push_back(0x400000 + size * 1000 + i);
    return fake_.add_bucket(stack, size);
  }
  void expect_damaged() {
    BucketList list(view_);
    std::vector<Bucket> buckets(3);
    EXPECT_FALSE(list.walk_new(buckets));
    EXPECT_EQ(buckets.size(), 3u);  // nothing was appended
  }

  FakeRuntime fake_{24};
  RuntimeView view_ = fake_.view();
};

TEST_F(BucketListTest, EmptyList) {
  BucketList list(view_);
  std::vector<Bucket> buckets;
  EXPECT_TRUE(list.walk_new(buckets));
  EXPECT_TRUE(buckets.empty());
}

TEST_F(BucketListTest, NewestFirstAndEachOnce) {
  const uint64_t first = add(3, 16);
  const uint64_t second = add(0, 32);
  BucketList list(view_);
  std::vector<Bucket> buckets;
  ASSERT_TRUE(list.walk_new(buckets));
  ASSERT_EQ(buckets.size(), 2u);
  EXPECT_EQ(buckets[0].address, second);
  EXPECT_EQ(buckets[0].object_size, 32u);
  EXPECT_TRUE(buckets[0].stack.empty());
  EXPECT_EQ(buckets[1].address, first);
  EXPECT_EQ(buckets[1].stack, (std::vector<uint64_t>{0x400000 + 16000, 0x400001 + 16000, 0x400002 + 16000}));
  EXPECT_EQ(buckets[1].counters, first + 48 + 3 * 8);
  EXPECT_EQ(buckets[1].hash, bucket_hash(buckets[1]));

  ASSERT_TRUE(list.walk_new(buckets));
  EXPECT_EQ(buckets.size(), 2u);
  const uint64_t third = add(1024, 48);  // as deep as it may be
  ASSERT_TRUE(list.walk_new(buckets));
  ASSERT_EQ(buckets.size(), 3u);
  EXPECT_EQ(buckets[2].address, third);
  EXPECT_EQ(buckets[2].stack.size(), 1024u);
  EXPECT_FALSE(list.truncated());
}

TEST_F(BucketListTest, ManyBuckets) {
  for (uint64_t i = 0; i < 5000; ++i) add(i % 130, 8 + i);
  BucketList list(view_);
  std::vector<Bucket> buckets;
  ASSERT_TRUE(list.walk_new(buckets));
  ASSERT_EQ(buckets.size(), 5000u);
  for (uint64_t i = 0; i < 5000; ++i) ASSERT_EQ(buckets[4999 - i].object_size, 8 + i);
}

TEST_F(BucketListTest, LoopsAreFound) {
  std::vector<uint64_t> added;
  for (uint64_t i = 0; i < 1000; ++i) added.push_back(add(4, 16));
  for (const size_t target : {size_t{0}, size_t{1}, size_t{500}, size_t{999}}) {
    FakeRuntime::write_field(added[0], fake_.layout().bucket.allnext, added[target]);
    expect_damaged();
  }
}

TEST_F(BucketListTest, ALoopThatAppearsLaterIsFound) {
  const uint64_t first = add(4, 16);
  BucketList list(view_);
  std::vector<Bucket> buckets;
  ASSERT_TRUE(list.walk_new(buckets));
  // The new element does not lead to the known one, but to itself.
  const uint64_t second = add(4, 32);
  FakeRuntime::write_field(second, fake_.layout().bucket.allnext, second);
  EXPECT_FALSE(list.walk_new(buckets));
  EXPECT_EQ(buckets.size(), 1u);
  // Once it is right again, nothing has been lost.
  FakeRuntime::write_field(second, fake_.layout().bucket.allnext, first);
  EXPECT_TRUE(list.walk_new(buckets));
  EXPECT_EQ(buckets.size(), 2u);
}

TEST_F(BucketListTest, NonsenseIsRefused) {
  const auto& fields = fake_.layout().bucket;
  struct Nonsense {
    gobin::Field field;
    uint64_t value;
  };
  for (const auto& [field, value] :
       {Nonsense{fields.typ, 2}, Nonsense{fields.size, 0}, Nonsense{fields.nstk, 1025},
        Nonsense{fields.nstk, UINT64_MAX}, Nonsense{fields.nstk, 1ull << 61}, Nonsense{fields.allnext, 8},
        Nonsense{fields.allnext, UINT64_MAX - 7}}) {
    const uint64_t bucket = add(4, 16);
    FakeRuntime::write_field(bucket, field, value);
    expect_damaged();
    FakeRuntime::write(fake_.addresses().mbuckets, uint64_t{0});
  }
  FakeRuntime::write(fake_.addresses().mbuckets, add(4, 16) + 4);  // not aligned
  expect_damaged();
}

TEST_F(BucketListTest, BeyondTheLimitTheOldestAreLeftOut) {
  for (uint64_t size = 1; size <= 10; ++size) add(1, size);
  BucketList list(view_, 4);
  std::vector<Bucket> buckets;
  ASSERT_TRUE(list.walk_new(buckets));
  ASSERT_EQ(buckets.size(), 4u);
  EXPECT_EQ(buckets[0].object_size, 10u);
  EXPECT_EQ(buckets[3].object_size, 7u);
  EXPECT_TRUE(list.truncated());
  add(1, 11);  // full is full
  ASSERT_TRUE(list.walk_new(buckets));
  EXPECT_EQ(buckets.size(), 4u);
  EXPECT_TRUE(list.truncated());
}

// By hand; the live tests compare with what the runtime computes.
TEST(BucketHash, MixesLikeTheRuntime) {
  Bucket bucket;
  bucket.object_size = 0;
  EXPECT_EQ(bucket_hash(bucket), 0u);
  bucket.object_size = 1;
  // 1, +1<<10 = 0x401, ^>>6 = 0x411; +<<3 = 0x2499, ^>>11 = 0x249d.
  EXPECT_EQ(bucket_hash(bucket), 0x249du);
}

}  // namespace
}  // namespace goheapd::runtime
