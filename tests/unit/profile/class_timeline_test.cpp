#include "daemon/profile/class_timeline.h"

#include <gtest/gtest.h>

#include <random>

namespace goheapd::profile {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;

uint32_t same(uint32_t account) { return account; }

double allocated_by(const ClassTimeline& timeline, uint32_t account) {
  double sum = 0;
  for (const auto& segment : timeline.segments())
    for (const auto& entry : segment.entries)
      if (entry.account == account) sum += entry.allocated;
  return sum;
}

double died(const ClassTimeline& timeline) {
  double sum = 0;
  for (const auto& segment : timeline.segments()) sum += segment.died;
  return sum;
}

TEST(ClassTimeline, AnOpenerHasASegmentUntilAnotherComes) {
  ClassTimeline timeline;
  timeline.open(1, 100, 20, 10, false);
  timeline.open(1, 200, 20, 10, false);
  timeline.open(2, 300, 20, 10, false);
  timeline.open(1, 400, 20, 10, false);
  timeline.open(1, 500, 22, 10, false);  // a collection has begun
  ASSERT_EQ(timeline.segments().size(), 4u);
  EXPECT_EQ(timeline.segments()[0].opened, 20);
  EXPECT_EQ(timeline.segments()[0].last_ns, 200u);
  EXPECT_EQ(timeline.segments()[1].entries[0].account, 2u);
  timeline.set_judged(22);
  EXPECT_TRUE(timeline.is_judged(timeline.segments()[2]));
  EXPECT_FALSE(timeline.is_judged(timeline.segments()[3]));
}

// Each finds its segment again, also those that came as if before the last.
TEST(ClassTimeline, DeathsAndCorrectionsFindTheirSegment) {
  ClassTimeline timeline;
  const uint64_t first = timeline.open(1, 100, 20, 10, false);
  const uint64_t second = timeline.open(2, 100, 20, 20, false);
  const uint64_t third = timeline.open(1, 50, 20, 40, false);
  EXPECT_EQ(first, 100u);
  timeline.correct(2, second, -5);
  timeline.die(1, third, 40);
  timeline.die(1, first, 10);
  ASSERT_EQ(timeline.segments().size(), 3u);
  EXPECT_EQ(timeline.segments()[0].died, 10);
  EXPECT_EQ(timeline.segments()[1].opened, 15);
  EXPECT_EQ(timeline.segments()[1].entries[0].undivided, 15);
  EXPECT_EQ(timeline.segments()[2].died, 40);
}

TEST(ClassTimeline, ACountDividesWhatWasOpenedSinceTheLast) {
  ClassTimeline timeline;
  timeline.open(1, 100, 20, 100, false);
  timeline.open(1, 200, 20, 100, true);
  const uint64_t last = timeline.open(2, 300, 20, 100, true);
  timeline.count({{1, 30}, {2, 10}}, same);
  timeline.open(3, 400, 20, 100, true);
  timeline.count({{1, 10}}, same);  // of 3 it knows nothing
  EXPECT_NEAR(allocated_by(timeline, 1), 150, 1e-9);
  EXPECT_NEAR(allocated_by(timeline, 2), 50, 1e-9);
  EXPECT_EQ(timeline.segments()[0].entries[0].undivided, 100);
  EXPECT_NEAR(timeline.segments()[1].entries[0].own, 75, 1e-9);
  EXPECT_NEAR(timeline.segments()[2].entries[1].own, 25, 1e-9);
  EXPECT_EQ(timeline.segments()[3].entries[0].undivided, 100);
  // The run was used by half: by all who took of it.
  timeline.correct(2, last, -50);
  EXPECT_NEAR(allocated_by(timeline, 1), 112.5, 1e-9);
  EXPECT_NEAR(allocated_by(timeline, 2), 37.5, 1e-9);
}

TEST(ClassTimeline, AnAccountIsCountedWhereItIsShown) {
  ClassTimeline timeline;
  timeline.open(7, 100, 20, 100, true);
  timeline.count({{1, 1}, {2, 1}}, [](uint32_t account) { return account == 7 ? 1U : account; });
  EXPECT_EQ(timeline.segments()[0].entries.back().own, 50);
  EXPECT_EQ(allocated_by(timeline, 1), 50);
}

// What is dead for long is one segment; the present is known to the moment; nothing is lost of the sums.
TEST(ClassTimeline, TheOldIsJoined) {
  ClassTimeline timeline;
  std::mt19937 random(1);
  uint32_t sweepgen = 20;
  double opened = 0;
  for (int second = 0; second < 600; ++second) {
    std::vector<std::pair<uint32_t, uint64_t>> births;
    for (int i = 0; i < 20; ++i) {
      const auto account = static_cast<uint32_t>(random() % 3);
      const uint64_t now = kSecond * static_cast<uint64_t>(second) + kSecond / 20 * static_cast<uint64_t>(i);
      births.emplace_back(account, timeline.open(account, now, sweepgen, 10, false));
      opened += 10;
      ASSERT_LE(timeline.segments().size(), ClassTimeline::kMaxSegments);
    }
    if (second < 590)
      for (const auto& [account, place] : births) timeline.die(account, place, 10);
    sweepgen += 2;
    timeline.set_judged(sweepgen);
  }
  EXPECT_EQ(timeline.opened(), opened);
  EXPECT_EQ(timeline.samples(), 600 * 20);
  EXPECT_EQ(died(timeline), 590 * 20 * 10);
  const auto& segments = timeline.segments();
  EXPECT_EQ(segments[0].died, segments[0].opened);
  EXPECT_GE(segments[0].last_ns, 580 * kSecond);
  EXPECT_GE(segments.size(), ClassTimeline::kMaxSegments / 2);
}

TEST(ClassTimeline, ManyAccountsHaveFewSegments) {
  ClassTimeline timeline;
  constexpr uint32_t kAccounts = 2 * ClassTimeline::kMaxEntries;
  for (uint32_t i = 0; i < 10 * kAccounts; ++i) timeline.open(i % kAccounts, i, 20, 1, false);
  EXPECT_LE(timeline.segments().size(), ClassTimeline::kMinSegments);
  EXPECT_EQ(timeline.opened(), 10.0 * kAccounts);
}

}  // namespace
}  // namespace goheapd::profile
