// When source spans looks into the memory of its process, and who may wait for it.
#include "daemon/span_source.h"

#include <gtest/gtest.h>

#include <chrono>

namespace goheapd {
namespace {

constexpr uint64_t kMs = 1'000'000;

bool is_ready(const std::shared_future<void>& end) {
  return end.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

class SpanSourceTest : public testing::Test {
 protected:
  // A reading of counters that lasts a millisecond is over.
  void apply(uint64_t end_ns) {
    profile::SpanReading reading;
    reading.liveness.begin_ns = reading.counters.begin_ns = end_ns - kMs;
    reading.counters.end_ns = end_ns;
    reading.liveness.sweepgen = 4;
    reading.swept = true;
    source_.apply(reading, {});
  }

  SpanSource source_{nullptr};
};

TEST_F(SpanSourceTest, WhoAsksWaitsForAReadingThatStartsLater) {
  source_.start_reading();
  const auto end = source_.next_reading_end();
  EXPECT_FALSE(source_.reading_due(1000 * kMs));
  apply(1000 * kMs);
  EXPECT_FALSE(is_ready(end)) << "what was allocated before the question may not be in that one";
  EXPECT_TRUE(source_.reading_due(1000 * kMs)) << "without a rest";
  source_.start_reading();
  apply(1002 * kMs);
  EXPECT_TRUE(is_ready(end));
  EXPECT_FALSE(source_.reading_due(1002 * kMs));
}

TEST_F(SpanSourceTest, WaitingEndsWhenAReadingFailsOrWillNotCome) {
  auto end = source_.next_reading_end();
  source_.start_reading();
  source_.reading_failed(1000 * kMs);
  EXPECT_TRUE(is_ready(end));
  source_.start_reading();
  end = source_.next_reading_end();
  source_.release_reader();
  EXPECT_FALSE(is_ready(end));
  apply(2000 * kMs);
  EXPECT_TRUE(is_ready(end));
}

TEST_F(SpanSourceTest, SliceWaitsForCountersButNotForEver) {
  source_.start_reading();
  apply(1000 * kMs);
  EXPECT_FALSE(source_.reading_due(1500 * kMs));
  EXPECT_FALSE(source_.is_read_for_slice(1500 * kMs));
  EXPECT_TRUE(source_.reading_due(1500 * kMs));
  source_.start_reading();
  EXPECT_FALSE(source_.is_read_for_slice(1501 * kMs));
  apply(1503 * kMs);
  EXPECT_TRUE(source_.is_read_for_slice(1504 * kMs));
  source_.begin_slice(1505 * kMs);
  source_.end_slice(1605 * kMs);
  EXPECT_TRUE(source_.reading_due(1606 * kMs)) << "and they are read when it is over";
  // Of a process whose memory takes long to read.
  EXPECT_FALSE(source_.is_read_for_slice(3000 * kMs));
  EXPECT_FALSE(source_.is_read_for_slice(3400 * kMs));
  EXPECT_TRUE(source_.is_read_for_slice(3500 * kMs));
}

}  // namespace
}  // namespace goheapd
