#include "daemon/profile/exact_window.h"

#include <gtest/gtest.h>

namespace goheapd::profile {
namespace {

using Stack = std::vector<uint64_t>;

model::ExactStack counted(uint64_t hash, Stack frames, bool truncated = false) {
  return {.pid = 1, .stack_hash = hash, .truncated = truncated, .stack = std::move(frames)};
}

model::ExactCount count(uint64_t hash, uint32_t size_class, uint64_t objects, bool noscan = false) {
  model::ExactCount count;
  count.stack_hash = hash;
  count.size_class = size_class;
  count.objects = objects;
  count.noscan = noscan;
  return count;
}

TEST(StackOrigins, ACountedStackIsTheEndOfTheSampledOne) {
  StackOrigins origins;
  const auto through_newobject = origins.add({0x10, 0x500, 0x900});
  const auto specialised = origins.add({0x501, 0x900});
  EXPECT_NE(through_newobject, specialised);
  EXPECT_EQ(origins.add({0x10, 0x500, 0x900}), through_newobject);
  EXPECT_EQ(origins.find({1, 2, 3, 0x10, 0x500, 0x900}), through_newobject);
  EXPECT_EQ(origins.find({1, 2, 0x501, 0x900}), specialised);
  EXPECT_EQ(origins.find({0x10, 0x500, 0x900}), through_newobject);
  // Another line of the same function, another caller.
  EXPECT_EQ(origins.find({1, 2, 3, 0x10, 0x502, 0x900}), std::nullopt);
  EXPECT_EQ(origins.find({1, 2, 3, 0x10, 0x500, 0x901}), std::nullopt);
  EXPECT_EQ(origins.find({}), std::nullopt);
}

TEST(StackOrigins, OfSeveralEndsTheLongest) {
  StackOrigins origins;
  const auto outer = origins.add({0x500, 0x900});
  const auto inner = origins.add({0x10, 0x500, 0x900});
  EXPECT_EQ(origins.find({1, 0x10, 0x500, 0x900}), inner);
  EXPECT_EQ(origins.find({1, 0x11, 0x500, 0x900}), outer);
}

TEST(StackOrigins, LeavesOutNoMoreThanAllocatorsAreDeep) {
  StackOrigins origins;
  const auto origin = origins.add({0x500, 0x900});
  Stack sampled(StackOrigins::kMaxAllocatorFrames, 7);
  sampled.insert(sampled.end(), {0x500, 0x900});
  EXPECT_EQ(origins.find(sampled), origin);
  sampled.insert(sampled.begin(), 7);
  EXPECT_EQ(origins.find(sampled), std::nullopt);
}

TEST(StackOrigins, IsBounded) {
  StackOrigins origins;
  for (uint64_t i = 0; i < StackOrigins::kMaxOrigins; ++i) ASSERT_TRUE(origins.add({i, 1}));
  EXPECT_FALSE(origins.add({StackOrigins::kMaxOrigins, 1}));
  EXPECT_TRUE(origins.add({0, 1}));
}

TEST(ExactWindow, SpanClasses) {
  EXPECT_EQ(span_class_of(count(1, 6, 1)), 12u);
  EXPECT_EQ(span_class_of(count(1, 6, 1, true)), 13u);
  EXPECT_EQ(span_class_of(count(1, 0, 1, true)), std::nullopt);
  EXPECT_EQ(span_class_of(count(1, 68, 1)), std::nullopt);
  model::ExactCount tiny = count(1, 1, 100, true);
  tiny.tiny = true;
  tiny.requested_bytes = 800;
  EXPECT_EQ(span_class_of(tiny), 5u);
  EXPECT_EQ(slots_of(tiny), 50);
}

TEST(ExactWindow, CountsByClassAndStack) {
  ExactWindow window;
  window.stacks = {counted(1, {0x10, 0x500}), counted(2, {0x10, 0x600}), counted(3, {0x10, 0x700}, true)};
  window.counts = {count(1, 6, 10), count(1, 6, 5),  count(1, 6, 3, true), count(2, 6, 20),
                   count(3, 6, 4),  count(77, 6, 2), count(0, 0, 1),       count(2, 0, 50)};
  StackOrigins origins;
  const WindowCounts counts = count_window(window, origins);
  const auto first = origins.find({0x10, 0x500});
  const auto second = origins.find({0x10, 0x600});
  ASSERT_TRUE(first && second);
  EXPECT_EQ(counts.by_class,
            (std::map<uint32_t, OriginAmounts>{{12, {{*first, 15}, {*second, 20}}}, {13, {{*first, 3}}}}));
  EXPECT_EQ(counts.unmatched, 7);
}

// The next window brings only the stacks that are new.
TEST(ExactWindow, StacksAreKnownFromEarlierWindows) {
  StackOrigins origins;
  count_window({.time_ns = 1, .stacks = {counted(1, {0x10, 0x500})}, .counts = {}}, origins);
  const WindowCounts counts = count_window(
      {.time_ns = 2, .stacks = {counted(2, {0x600})}, .counts = {count(1, 6, 10), count(2, 6, 5)}}, origins);
  EXPECT_EQ(counts.unmatched, 0);
  EXPECT_EQ(counts.by_class.at(12),
            (OriginAmounts{{*origins.find({0x10, 0x500}), 10}, {*origins.find({0x600}), 5}}));
}

}  // namespace
}  // namespace goheapd::profile
