#include "daemon/profile/exact_ledger.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <utility>

namespace goheapd::profile {
namespace {

model::ExactCount count(uint64_t stack, uint64_t objects, uint64_t slot_bytes, uint32_t size_class = 5) {
  model::ExactCount result;
  result.stack_hash = stack;
  result.size_class = size_class;
  result.objects = objects;
  result.slot_bytes = slot_bytes;
  return result;
}

TEST(ExactLedger, TakesOverTheKernelsTotals) {
  ExactLedger ledger;
  ledger.on_stack({1, 7, false, {0x10, 0x20}});
  ledger.apply({count(7, 10, 480)});
  ledger.apply({count(7, 12, 576), count(7, 1, 64, 6)});
  EXPECT_EQ(ledger.objects(), 13u);
  EXPECT_EQ(ledger.bytes(), 640u);
  RawSnapshot snapshot;
  ledger.fill(snapshot);
  ASSERT_EQ(snapshot.samples.size(), 2u);
  EXPECT_FALSE(snapshot.has_inuse);
  EXPECT_FALSE(snapshot.logical_stacks);
  EXPECT_EQ(snapshot.sample_rate, 1u);
  EXPECT_EQ(snapshot.samples[0].object_bytes, 48u);
  EXPECT_EQ(snapshot.samples[0].published, (model::HeapValues{12, 576, 0, 0}));
  EXPECT_EQ(*snapshot.samples[0].stack, (std::vector<uint64_t>{0x10, 0x20}));
}

TEST(ExactLedger, CountsWithoutAStackAreKeptAndSaidSo) {
  ExactLedger ledger;
  ledger.apply({count(7, 10, 480), count(8, 1, 16)});
  EXPECT_EQ(ledger.objects_without_stack(), 11u);
  ledger.on_stack({1, 7, true, {0x10}});
  EXPECT_EQ(ledger.objects_without_stack(), 1u);
  EXPECT_EQ(ledger.truncated_stacks(), 1u);
  RawSnapshot snapshot;
  ledger.fill(snapshot);
  ASSERT_EQ(snapshot.samples.size(), 2u);
  EXPECT_TRUE(std::any_of(snapshot.samples.begin(), snapshot.samples.end(),
                          [](const RawSample& sample) { return sample.stack->empty(); }));
}

TEST(ExactLedger, AStackIsNamedOnce) {
  ExactLedger ledger;
  ledger.on_stack({1, 7, false, {0x10}});
  ledger.on_stack({1, 7, false, {0x10}});
  const auto unnamed = ledger.take_unnamed_stacks();
  ASSERT_EQ(unnamed.size(), 1u);
  EXPECT_EQ(unnamed[0].first, 7u);
  EXPECT_TRUE(ledger.take_unnamed_stacks().empty());
  ledger.name_stack(7, model::AllocationKind::slice, "main.f");
  ledger.name_stack(99, model::AllocationKind::map, "main.g");
  ledger.apply({count(7, 2, 64), count(8, 1, 16)});
  EXPECT_DOUBLE_EQ(ledger.alloc_bytes()[static_cast<size_t>(model::AllocationKind::slice)], 64);
  EXPECT_DOUBLE_EQ(ledger.alloc_objects()[static_cast<size_t>(model::AllocationKind::other)], 1);
  const auto sites = ledger.sites();
  ASSERT_EQ(sites.size(), 2u);
  EXPECT_EQ(sites[0].function, "main.f");
  EXPECT_EQ(sites[1].function, kOtherSite);
}

TEST(ExactLedger, PeriodsAddUp) {
  ExactLedger ledger;
  ledger.on_stack({1, 11, false, {0x1000}});
  ledger.apply({{1, 11, 0, 4, false, false, 3, 90, 96}, {1, 11, 0, 5, false, false, 1, 40, 48}});
  ledger.end_period();
  EXPECT_EQ(ledger.objects(), 4u);
  ledger.apply({{1, 11, 0, 4, false, false, 2, 60, 64}, {1, 12, 0, 4, false, false, 1, 30, 32}});
  EXPECT_EQ(ledger.objects(), 7u);
  ledger.apply({{1, 11, 0, 4, false, false, 5, 150, 160}, {1, 12, 0, 4, false, false, 1, 30, 32}});
  ledger.end_period();
  ledger.apply({});
  EXPECT_EQ(ledger.objects(), 10u);
  EXPECT_EQ(ledger.bytes(), 96u + 48 + 160 + 32);
  EXPECT_EQ(ledger.samples().size(), 3u);
  EXPECT_EQ(ledger.objects_without_stack(), 1u);
}

TEST(ExactLedger, AWindowHasWhatNoneBeforeHad) {
  ExactLedger ledger;
  ledger.on_stack({1, 7, false, {0x10, 0x20}});
  ledger.apply({count(7, 10, 480)});
  ExactWindow window = ledger.take_window(5);
  EXPECT_EQ(window.time_ns, 5u);
  ASSERT_EQ(window.stacks.size(), 1u);
  EXPECT_EQ(window.stacks[0].stack_hash, 7u);
  EXPECT_EQ(window.stacks[0].stack, (std::vector<uint64_t>{0x10, 0x20}));
  ASSERT_EQ(window.counts.size(), 1u);
  EXPECT_EQ(window.counts[0].objects, 10u);

  ledger.on_stack({1, 8, true, {0x30}});
  ledger.apply({count(7, 12, 576), count(8, 3, 48)});
  ledger.end_period();
  ledger.apply({count(7, 1, 48)});
  window = ledger.take_window(6);
  ASSERT_EQ(window.stacks.size(), 1u);
  EXPECT_TRUE(window.stacks[0].truncated);
  std::map<uint64_t, std::pair<uint64_t, uint64_t>> since;
  for (const auto& entry : window.counts) since[entry.stack_hash] = {entry.objects, entry.slot_bytes};
  EXPECT_EQ(since, (std::map<uint64_t, std::pair<uint64_t, uint64_t>>{{7, {3, 144}}, {8, {3, 48}}}));
  window = ledger.take_window(7);
  EXPECT_TRUE(window.stacks.empty());
  EXPECT_TRUE(window.counts.empty());
}

}  // namespace
}  // namespace goheapd::profile
