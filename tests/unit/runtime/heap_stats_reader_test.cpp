#include "daemon/runtime/heap_stats_reader.h"

#include <gtest/gtest.h>

#include "tests/unit/runtime/fake_runtime.h"

namespace goheapd::runtime {
namespace {

constexpr uint32_t kSweepgen = 6;
constexpr size_t kClass = 5;

class HeapStatsReaderTest : public testing::TestWithParam<int> {
 protected:
  HeapStatsReaderTest() {
    const auto& layout = fake_.layout();
    fake_.set_cycles(kSweepgen / 2);
    cache_ = fake_.allocate(layout.mcache.sizeof_struct);
    const uint64_t p = FakeRuntime::read(FakeRuntime::read(fake_.addresses().allp));
    FakeRuntime::write_field(p, layout.p.mcache, cache_);
  }
  uint64_t word(size_t part, gobin::Field field, size_t index = 0) const {
    return fake_.addresses().memstats + part * fake_.layout().heap_stats_delta.sizeof_struct + field.offset +
           index * 8;
  }
  // A span that the only processor holds for objects of kClass with pointers.
  uint64_t hold_span(uint64_t used, uint64_t used_before, uint64_t sweepgen) {
    const auto& layout = fake_.layout();
    const uint64_t span = fake_.add_span(1, 1, gobin::kSizeClassBytes[kClass]);
    FakeRuntime::write_field(span, layout.mspan.alloc_count, used);
    FakeRuntime::write_field(span, layout.mspan.alloc_count_before_cache, used_before);
    FakeRuntime::write_field(span, layout.mspan.sweepgen, sweepgen);
    FakeRuntime::write(cache_ + layout.mcache.alloc.offset + 2 * kClass * 8, span);
    return span;
  }
  void set_generation(uint32_t generation) {
    FakeRuntime::write_field(fake_.addresses().memstats, fake_.layout().consistent_heap_stats.gen,
                             generation);
  }

  FakeRuntime fake_{GetParam()};
  uint64_t cache_ = 0;
  RuntimeView view_ = fake_.view();
  HeapStatsReader reader_{view_};
};

TEST_P(HeapStatsReaderTest, AddsThePartsAndWhatIsNotHandedIn) {
  const auto& delta = fake_.layout().heap_stats_delta;
  // Two parts of which one was taken out of the other: their sum wraps around.
  FakeRuntime::write<uint64_t>(word(0, delta.small_alloc_count, kClass), 100);
  FakeRuntime::write<uint64_t>(word(2, delta.small_alloc_count, kClass), 7);
  FakeRuntime::write<uint64_t>(word(0, delta.small_free_count, kClass), 40);
  FakeRuntime::write<uint64_t>(word(0, delta.large_alloc, 0), 1 << 20);
  FakeRuntime::write<uint64_t>(word(0, delta.in_stacks, 0), 5000);
  FakeRuntime::write<int64_t>(word(2, delta.in_stacks, 0), -1000);
  FakeRuntime::write<uint64_t>(word(0, delta.tiny_alloc_count, 0), 10);
  FakeRuntime::write_field(cache_, fake_.layout().mcache.tiny_allocs, 3);
  hold_span(9, 4, kSweepgen + 3);
  const auto reading = reader_.read();
  ASSERT_TRUE(reading) << to_string(reading.error());
  EXPECT_TRUE(reading->consistent);
  EXPECT_EQ(reading->small[kClass].allocs, 112u);
  EXPECT_EQ(reading->small[kClass].frees, 40u);
  EXPECT_EQ(reading->large_alloc_bytes, 1u << 20);
  EXPECT_EQ(reading->in_stacks, 4000);
  EXPECT_EQ(reading->tiny_allocs, 13u);
  EXPECT_EQ(reading->retries, 0u);
}

TEST_P(HeapStatsReaderTest, ASpanTakenBeforeTheSweepCounts) {
  hold_span(9, 4, kSweepgen + 1);
  EXPECT_EQ(reader_.read()->small[kClass].allocs, 5u);
}

// Between "no longer taken" and "replaced" the objects of a span may or may not be in the total already.
TEST_P(HeapStatsReaderTest, ASpanOnItsWayIsNotCountedTwice) {
  const auto& delta = fake_.layout().heap_stats_delta;
  FakeRuntime::write<uint64_t>(word(0, delta.small_alloc_count, kClass), 9);
  hold_span(9, 0, kSweepgen);
  const auto reading = reader_.read();
  EXPECT_FALSE(reading->consistent);
  EXPECT_FALSE(reading->may_count_twice);
  EXPECT_GT(reading->retries, 0u);
  EXPECT_EQ(reading->small[kClass].allocs, 9u);
}

TEST_P(HeapStatsReaderTest, AMergeUnderWayIsNotBelieved) {
  const auto& delta = fake_.layout().heap_stats_delta;
  set_generation(1);  // writers are at part 1, part 0 has it all, part 2 is to be emptied
  FakeRuntime::write<uint64_t>(word(0, delta.large_alloc_count), 5);
  EXPECT_TRUE(reader_.read()->consistent);
  EXPECT_FALSE(reader_.read()->may_count_twice);
  FakeRuntime::write<uint64_t>(word(2, delta.large_alloc_count), 5);
  EXPECT_FALSE(reader_.read()->consistent);
  EXPECT_TRUE(reader_.read()->may_count_twice);
}

TEST_P(HeapStatsReaderTest, NonsenseIsAnError) {
  set_generation(3);
  EXPECT_FALSE(reader_.read());
  set_generation(0);
  ASSERT_TRUE(reader_.read());
  FakeRuntime::write<uint64_t>(fake_.addresses().allp + 8, uint64_t{1} << 40);
  EXPECT_FALSE(reader_.read());
  FakeRuntime::write<uint64_t>(fake_.addresses().allp + 8, 1);
  FakeRuntime::write<uint64_t>(fake_.addresses().allp, 16);
  EXPECT_FALSE(reader_.read());
}

TEST_P(HeapStatsReaderTest, WildPointersAreNoObjects) {
  FakeRuntime::write(cache_ + fake_.layout().mcache.alloc.offset + 2 * kClass * 8, uint64_t{16});
  const auto reading = reader_.read();
  ASSERT_TRUE(reading) << to_string(reading.error());
  EXPECT_FALSE(reading->consistent);
  EXPECT_EQ(reading->small[kClass].allocs, 0u);
}

INSTANTIATE_TEST_SUITE_P(Go, HeapStatsReaderTest, testing::Values(19, 24, 27));

}  // namespace
}  // namespace goheapd::runtime
