#include "daemon/runtime/bucket_reader.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <map>
#include <thread>

#include "tests/unit/runtime/fake_runtime.h"

namespace goheapd::runtime {
namespace {

// Versions whose records differ: cycles of 32 bytes, and of 16 from 1.27 on.
class BucketReaderTest : public testing::TestWithParam<int> {
 protected:
  static std::map<uint64_t, model::BucketRecord> by_address(const model::BucketReading& reading) {
    std::map<uint64_t, model::BucketRecord> buckets;
    for (const auto& bucket : reading.buckets) buckets[bucket.address] = bucket;
    return buckets;
  }

  FakeRuntime fake_{GetParam()};
  RuntimeView view_ = fake_.view();
  BucketReader reader_{view_};
};

TEST_P(BucketReaderTest, EmptyProfile) {
  const auto reading = reader_.read();
  ASSERT_TRUE(reading);
  EXPECT_TRUE(reading->consistent);
  EXPECT_TRUE(reading->buckets.empty());
  EXPECT_EQ(reading->sample_rate, 512u * 1024);
  EXPECT_LE(reading->begin_ns, reading->end_ns);
  fake_.set_rate(0);
  EXPECT_EQ(reader_.read()->sample_rate, 0u);
  fake_.set_rate(-1);  // any rate below 1 switches the sampler off
  EXPECT_EQ(reader_.read()->sample_rate, 0u);
}

TEST_P(BucketReaderTest, PublishedIsActiveAndTheCurrentCycle) {
  const uint64_t bucket = fake_.add_bucket({1, 2, 3}, 64);
  fake_.set_counters(bucket, {100, 50}, {{{1, 2}, {10, 20}, {100, 200}}});
  for (const uint32_t cycle : {0u, 1u, 2u, 3u, 4u, 50331647u}) {
    for (const bool flushed : {false, true}) {
      fake_.set_cycle(cycle, flushed);
      const auto reading = reader_.read();
      ASSERT_TRUE(reading && reading->consistent);
      EXPECT_EQ(reading->profile_cycle, cycle);
      ASSERT_EQ(reading->buckets.size(), 1u);
      const auto& record = reading->buckets[0];
      const uint64_t tens = cycle % 3 == 0 ? 1 : cycle % 3 == 1 ? 10 : 100;
      EXPECT_EQ(record.published.allocs, 100 + tens);
      EXPECT_EQ(record.published.frees, 50 + 2 * tens);
      EXPECT_EQ(record.fresh.allocs, 211u);
      EXPECT_EQ(record.fresh.frees, 272u);
      EXPECT_EQ(record.object_size, 64u);
    }
  }
}

TEST_P(BucketReaderTest, BeforeTheFirstCycleAllShows) {
  const uint64_t first = fake_.add_bucket({1}, 16);
  const uint64_t second = fake_.add_bucket({2}, 32);
  fake_.set_cycle(0, false);
  fake_.set_counters(first, {}, {{{0, 0}, {0, 0}, {7, 0}}});
  fake_.set_counters(second, {}, {{{0, 0}, {5, 1}, {3, 0}}});
  auto reading = reader_.read();
  ASSERT_TRUE(reading);
  EXPECT_EQ(by_address(*reading)[first].published.allocs, 7u);
  EXPECT_EQ(by_address(*reading)[second].published.allocs, 8u);
  EXPECT_EQ(by_address(*reading)[second].published.frees, 1u);
  // One value published anywhere ends that, for all buckets.
  fake_.set_counters(first, {0, 1}, {{{0, 0}, {0, 0}, {7, 0}}});
  reading = reader_.read();
  EXPECT_EQ(by_address(*reading)[first].published.allocs, 0u);
  EXPECT_EQ(by_address(*reading)[second].published.allocs, 0u);
  EXPECT_EQ(by_address(*reading)[second].fresh.allocs, 8u);
}

TEST_P(BucketReaderTest, StacksComeOnce) {
  const uint64_t first = fake_.add_bucket({1, 2}, 16);
  auto reading = reader_.read();
  ASSERT_TRUE(reading);
  EXPECT_EQ(by_address(*reading)[first].stack, (std::vector<uint64_t>{1, 2}));
  const uint64_t second = fake_.add_bucket({3}, 16);
  reading = reader_.read();
  ASSERT_EQ(reading->buckets.size(), 2u);
  EXPECT_TRUE(by_address(*reading)[first].stack.empty());
  EXPECT_EQ(by_address(*reading)[second].stack, (std::vector<uint64_t>{3}));
}

TEST_P(BucketReaderTest, AStackSurvivesAReadingThatFailed) {
  const uint64_t first = fake_.add_bucket({1, 2}, 16);
  const uint64_t head = FakeRuntime::read(fake_.addresses().mbuckets);
  ASSERT_TRUE(reader_.read());
  const uint64_t second = fake_.add_bucket({3}, 16);
  const uint64_t broken = fake_.add_bucket({4}, 16);
  FakeRuntime::write_field(broken, fake_.layout().bucket.typ, 77);
  EXPECT_FALSE(reader_.read());
  FakeRuntime::write_field(broken, fake_.layout().bucket.typ, gobin::kMemProfileBucket);
  const auto reading = reader_.read();
  ASSERT_TRUE(reading);
  EXPECT_EQ(by_address(*reading)[second].stack, (std::vector<uint64_t>{3}));
  EXPECT_EQ(by_address(*reading)[broken].stack, (std::vector<uint64_t>{4}));
  EXPECT_TRUE(by_address(*reading)[first].stack.empty());
  EXPECT_EQ(head, first);
}

TEST_P(BucketReaderTest, AFlushThatDoesNotEndIsInconsistent) {
  const uint64_t bucket = fake_.add_bucket({1, 2}, 16);
  fake_.set_counters(bucket, {3, 1}, {});
  fake_.set_lock(1);
  auto reading = reader_.read();
  ASSERT_TRUE(reading);
  EXPECT_FALSE(reading->consistent);
  EXPECT_GT(reading->retries, 0u);
  ASSERT_EQ(reading->buckets.size(), 1u);
  EXPECT_EQ(reading->buckets[0].published.allocs, 3u);
  fake_.set_lock(0);
  reading = reader_.read();
  EXPECT_TRUE(reading->consistent);
  EXPECT_EQ(reading->retries, 0u);
}

TEST_P(BucketReaderTest, WithoutTheLocksAddressItIsNotAsked) {
  const uint64_t bucket = fake_.add_bucket({1, 2}, 16);
  fake_.set_counters(bucket, {3, 1}, {});
  fake_.set_lock(1);
  RuntimeAddresses addresses = fake_.addresses();
  addresses.prof_mem_active_lock = 0;
  const RuntimeView view = fake_.view(addresses);
  BucketReader reader(view);
  EXPECT_TRUE(reader.read()->consistent);
}

// A runtime that counts and flushes as fast as it can. In every cycle each bucket gets one object, and the objects of
// the cycle before are freed; so at any moment at which no flush runs, all buckets have published the same.
TEST_P(BucketReaderTest, ReadingsOfAMovingTargetAreSnapshots) {
  constexpr size_t kBuckets = 300;
  std::vector<uint64_t> buckets;
  for (size_t i = 0; i < kBuckets; ++i)
    buckets.push_back(fake_.add_bucket(std::vector<uint64_t>(i % 40, 7), 16));
  const auto word = [](uint64_t address) { return std::atomic_ref(*reinterpret_cast<uint64_t*>(address)); };
  const auto& fields = fake_.layout().mem_record_cycle;

  std::atomic<bool> stop = false;
  std::thread runtime([&] {
    uint32_t cycle = 1;
    const auto count = [&](uint32_t ahead, gobin::Field counter) {
      for (const uint64_t bucket : buckets) {
        word(fake_.counter_address(bucket, 1 + (cycle + ahead) % 3, counter)).fetch_add(1);
      }
    };
    const auto flush = [&](uint32_t ahead) {
      word(fake_.addresses().prof_mem_active_lock).store(1);
      for (const uint64_t bucket : buckets) {
        for (const gobin::Field counter : {fields.allocs, fields.frees}) {
          auto future = word(fake_.counter_address(bucket, 1 + (cycle + ahead) % 3, counter));
          word(fake_.counter_address(bucket, 0, counter)).fetch_add(future.load());
          future.store(0);
        }
        // The thread that flushes may be preempted.
        if (cycle % 5 == 0 && bucket == buckets[kBuckets / 2]) {
          std::this_thread::sleep_for(std::chrono::microseconds(300));
        }
      }
      word(fake_.addresses().prof_mem_active_lock).store(0);
    };
    while (!stop) {
      fake_.set_cycle(++cycle, false);  // mark termination
      flush(0);
      count(1, fields.frees);        // sweep
      if (cycle % 4 == 0) flush(1);  // runtime.GC() publishes what it swept at once
      std::this_thread::sleep_for(std::chrono::microseconds(cycle % 7 * 100));
      count(2, fields.allocs);
    }
  });

  // Before anything is published a reading shows all that was counted up to now, as MemProfile does: no snapshot.
  while (word(fake_.counter_address(buckets.front(), 0, fields.allocs)).load() == 0)
    std::this_thread::yield();

  uint64_t consistent = 0;
  uint64_t mixed = 0;
  uint64_t backwards = 0;
  uint64_t last = 0;
  constexpr uint64_t kReadings = 150;
  for (uint64_t i = 0; i < kReadings; ++i) {
    const auto reading = reader_.read();
    if (!reading) break;
    if (!reading->consistent) continue;
    ++consistent;
    const auto& first = reading->buckets.front();
    for (const auto& bucket : reading->buckets) {
      if (bucket.published.allocs != first.published.allocs ||
          bucket.published.frees != first.published.frees)
        ++mixed;
    }
    backwards += first.published.allocs < last ? 1 : 0;
    last = first.published.allocs;
  }
  stop = true;
  runtime.join();
  EXPECT_EQ(mixed, 0u);
  EXPECT_EQ(backwards, 0u);
  EXPECT_GT(consistent, kReadings / 2);
}

TEST_P(BucketReaderTest, AVanishedBucketIsAnError) {
  GuardedMemory page(4096);
  // A bucket at the end of a page: its header is readable, its counters are not.
  const uint64_t bucket = page.end() - fake_.layout().bucket.sizeof_struct;
  FakeRuntime::write_field(bucket, fake_.layout().bucket.typ, gobin::kMemProfileBucket);
  FakeRuntime::write_field(bucket, fake_.layout().bucket.size, 16);
  FakeRuntime::write(fake_.addresses().mbuckets, bucket);
  const auto reading = reader_.read();
  ASSERT_FALSE(reading);
  EXPECT_EQ(reading.error().errno_value, EFAULT);
}

TEST_P(BucketReaderTest, AnExitedProcessIsAnError) {
  fake_.add_bucket({1, 2}, 16);
  const pid_t child = ::fork();
  if (child == 0) {
    for (;;) ::pause();
  }
  const RuntimeView view(*process::ProcessMemory::open(child), fake_.layout(), fake_.addresses());
  BucketReader reader(view);
  EXPECT_EQ(reader.read()->buckets.size(), 1u);  // the child has a copy of our memory
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(reader.read().error().errno_value, ESRCH);
}

INSTANTIATE_TEST_SUITE_P(Go, BucketReaderTest, testing::Values(19, 24, 27));

}  // namespace
}  // namespace goheapd::runtime
