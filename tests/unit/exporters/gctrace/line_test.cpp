#include "exporters/gctrace/line.h"

#include <gtest/gtest.h>

#include "tests/unit/exporters/fixtures.h"

namespace goheapd::exporters::gctrace {
namespace {

// The first number of the clock part: how the runtime shortens times.
std::string first_stop(int64_t nanoseconds) {
  model::GcCycle cycle = fixtures::gc_cycle(1);
  cycle.start_ns = cycle.mark_ns - nanoseconds;
  const std::string text = line(cycle);
  const size_t begin = text.find("%: ") + 3;
  return text.substr(begin, text.find('+') - begin);
}

TEST(GctraceLine, TimesHaveTwoDigitsOrSo) {
  EXPECT_EQ(first_stop(0), "0");
  EXPECT_EQ(first_stop(999), "0");
  EXPECT_EQ(first_stop(1'000), "0.001");
  EXPECT_EQ(first_stop(35'999), "0.035");
  EXPECT_EQ(first_stop(99'999), "0.099");
  EXPECT_EQ(first_stop(100'000), "0.10");
  EXPECT_EQ(first_stop(999'999), "0.99");
  EXPECT_EQ(first_stop(1'000'000), "1.0");
  EXPECT_EQ(first_stop(9'999'999), "9.9");
  EXPECT_EQ(first_stop(10'000'000), "10");
  EXPECT_EQ(first_stop(1'234'567'890), "1234");
  // A clock that went backwards.
  EXPECT_EQ(first_stop(-1), "18446744073709");
}

TEST(GctraceLine, SaysWhatWasSpecial) {
  model::GcCycle cycle = fixtures::gc_cycle(7);
  EXPECT_NE(line(cycle).find("gc 7 @1.750s 3%: "), std::string::npos);
  EXPECT_TRUE(line(cycle).ends_with(", 4 P\n"));
  cycle.printed_as_forced = true;
  cycle.leak_check = true;
  EXPECT_NE(line(cycle).find("gc 7 @1.750s 3% (checking for goroutine leaks): "), std::string::npos);
  EXPECT_TRUE(line(cycle).ends_with(", 4 P (forced)\n"));
}

}  // namespace
}  // namespace goheapd::exporters::gctrace
