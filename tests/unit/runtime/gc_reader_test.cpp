#include "daemon/runtime/gc_reader.h"

#include <gtest/gtest.h>

#include "tests/unit/runtime/fake_runtime.h"

namespace goheapd::runtime {
namespace {

class GcReaderTest : public testing::TestWithParam<int> {
 protected:
  // Cycles up to `cycles` have happened; the pause of the n-th took n microseconds.
  void collect_until(uint32_t cycles) {
    for (uint32_t n = cycles > 256 ? cycles - 255 : 1; n <= cycles; ++n)
      fake_.set_pause((n - 1) % 256, n * 1000);
    fake_.set_cycles(cycles);
  }
  static std::vector<uint64_t> pauses(uint32_t first, uint32_t last) {
    std::vector<uint64_t> pauses;
    for (uint32_t n = first; n <= last; ++n) pauses.push_back(n * 1000);
    return pauses;
  }

  FakeRuntime fake_{GetParam()};
  RuntimeView view_ = fake_.view();
  GcReader reader_{view_};
};

TEST_P(GcReaderTest, NoCycleYet) {
  const auto reading = reader_.read();
  ASSERT_TRUE(reading);
  EXPECT_EQ(reading->cycles, 0u);
  EXPECT_TRUE(reading->new_pauses_ns.empty());
}

TEST_P(GcReaderTest, EachPauseOnce) {
  collect_until(3);
  FakeRuntime::write_field(fake_.addresses().memstats, fake_.layout().mstats.numforcedgc, 2);
  auto reading = reader_.read();
  EXPECT_EQ(reading->cycles, 3u);
  EXPECT_EQ(reading->forced_cycles, 2u);
  EXPECT_EQ(reading->new_pauses_ns, pauses(1, 3));
  reader_.adopted(3);
  EXPECT_TRUE(reader_.read()->new_pauses_ns.empty());
  collect_until(200);
  EXPECT_EQ(reader_.read()->new_pauses_ns, pauses(4, 200));
  reader_.adopted(200);
  collect_until(300);
  reading = reader_.read();
  EXPECT_EQ(reading->new_pauses_ns, pauses(201, 300));
}

// It may have been overtaken on its way, or dropped.
TEST_P(GcReaderTest, PausesAreToldUntilTheyAreAdopted) {
  collect_until(3);
  EXPECT_EQ(reader_.read()->new_pauses_ns, pauses(1, 3));
  collect_until(5);
  EXPECT_EQ(reader_.read()->new_pauses_ns, pauses(1, 5));
  reader_.adopted(5);
  reader_.adopted(3);  // the older one came later
  collect_until(6);
  EXPECT_EQ(reader_.read()->new_pauses_ns, pauses(6, 6));
}

// The place that the next cycle will use is not trusted: its pause is written before the cycle is counted.
TEST_P(GcReaderTest, OverwrittenPausesAreNotTold) {
  collect_until(255);
  EXPECT_EQ(reader_.read()->new_pauses_ns, pauses(1, 255));
  reader_.adopted(255);
  collect_until(255 + 256);
  auto reading = reader_.read();
  EXPECT_EQ(reading->new_pauses_ns, pauses(257, 511));
  reader_.adopted(511);
  collect_until(100'000);
  reading = reader_.read();
  EXPECT_EQ(reading->cycles, 100'000u);
  EXPECT_EQ(reading->new_pauses_ns.size(), 255u);
}

TEST_P(GcReaderTest, AnotherProgramsCountIsAnError) {
  collect_until(10);
  ASSERT_TRUE(reader_.read());
  fake_.set_cycles(9);
  EXPECT_FALSE(reader_.read());
}

INSTANTIATE_TEST_SUITE_P(Go, GcReaderTest, testing::Values(19, 24, 27));

}  // namespace
}  // namespace goheapd::runtime
