#include "daemon/runtime/heap_census.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <set>
#include <span>
#include <vector>

#include "tests/unit/runtime/fake_heap.h"

namespace goheapd::runtime {
namespace {

constexpr uint32_t kClass1024 = 32;
constexpr size_t kAll = 100'000;

class HeapCensusTest : public testing::TestWithParam<int>, protected FakeHeap {
 protected:
  HeapCensusTest() : FakeHeap(GetParam()) {}

  // One whose first `freeindex` slots were handed out since it was swept.
  FakeSpan add(uint64_t page, uint64_t freeindex, int generation, uint32_t size_class = kClass1024,
               uint64_t pages = 1) {
    const uint64_t elemsize =
        size_class == 0 ? pages * gobin::kGoPageSize : gobin::kSizeClassBytes[size_class];
    const FakeSpan span = add_span(page, elemsize, generation, pages);
    set(span, layout_.mspan.freeindex, freeindex);
    set(span, layout_.mspan.spanclass, size_class << 1);
    return span;
  }
  model::HeapCensus census(size_t most = kAll) {
    auto taken = take_census(view(), most);
    if (!taken) throw std::runtime_error(to_string(taken.error()));
    return *std::move(taken);
  }
  static std::set<uint64_t> alive(const model::HeapCensus& census) {
    std::set<uint64_t> addresses;
    for (const auto& object : census.alive) addresses.insert(object.object.address);
    return addresses;
  }
};

TEST_P(HeapCensusTest, OfSweptSpansWhatWasHandedOutOrSurvived) {
  const FakeSpan swept = add(0, 2, 0);
  set_bit(swept.alloc_bits, 5);
  const FakeSpan cached = add(1, 0, 3);
  set_bit(cached.alloc_bits, 7);
  set_bit(cached.mark_bits, 3);  // of the cycle that is going on
  const auto taken = census();
  EXPECT_EQ(alive(taken), (std::set{swept.object(0), swept.object(1), swept.object(5), cached.object(7)}));
  EXPECT_EQ(taken.classes[kClass1024].objects, 4u);
  EXPECT_EQ(taken.classes[kClass1024].bytes, 4u * 1024);
  for (const auto& object : taken.alive) {
    EXPECT_TRUE(object.object.is_old);
    EXPECT_EQ(object.object.sweepgen, kNow);
    EXPECT_EQ(object.size_class, kClass1024);
    EXPECT_EQ(object.bytes, 1024u);
  }
}

// What the last cycle has found dead is there until it is swept.
TEST_P(HeapCensusTest, OfUnsweptSpansWhatIsMarked) {
  for (const int generation : {-2, 1}) {
    const FakeSpan span = add(static_cast<uint64_t>(generation + 2), 4, generation);
    set_bit(span.mark_bits, 1);
    set_bit(span.mark_bits, 6);  // free: a stray pointer
  }
  const auto taken = census();
  EXPECT_EQ(taken.alive.size(), 2u);
  EXPECT_EQ(taken.classes[kClass1024].objects, 8u);
}

TEST_P(HeapCensusTest, InlineMarks) {
  if (layout_.span_inline_mark_bits.sizeof_struct == 0) return;  // nothing of the kind in this version
  const uint32_t size_class = 6;                                 // 64 bytes
  const FakeSpan span = add(0, 100, -2, size_class);
  set_bit(span.start + gobin::kGoPageSize - layout_.span_inline_mark_bits.sizeof_struct +
              layout_.span_inline_mark_bits.marks.offset,
          17);
  EXPECT_EQ(alive(census()), std::set{span.object(17)});
}

TEST_P(HeapCensusTest, LargeObjectsAndSpansThatAreOfNoUse) {
  const FakeSpan large = add(0, 1, 0, 0, 3);
  add(4, 8, -1);  // swept just now
  add(5, 8, -4);  // of another time
  const FakeSpan free = add(6, 8, 0);
  set(free, layout_.mspan.state, 0);
  const FakeSpan broken = add(7, 8, 0);
  set(broken, layout_.mspan.alloc_bits, 8);
  const FakeSpan absurd = add(8, 8, 0);
  set(absurd, layout_.mspan.spanclass, 255);
  const auto taken = census();
  EXPECT_EQ(alive(taken), std::set{large.start});
  EXPECT_EQ(taken.classes[0].bytes, 3 * gobin::kGoPageSize);
  EXPECT_EQ(taken.classes[kClass1024].objects, 0u);
}

TEST_P(HeapCensusTest, ChoosesOfManySomeAtRandom) {
  for (uint64_t page = 0; page < 16; ++page) add(page, 8, 0);
  std::array<int, 16 * 8> chosen{};
  constexpr int kTimes = 400;
  constexpr size_t kMost = 32;
  for (int i = 0; i < kTimes; ++i) {
    const auto taken = census(kMost);
    ASSERT_EQ(taken.alive.size(), kMost);
    for (const auto& object : taken.alive) ++chosen[(object.object.address - heap_) / 1024];
  }
  // Each with p = 1/4: six standard deviations.
  for (const int times : chosen) EXPECT_NEAR(times, kTimes / 4, 6 * 8.7);
}

TEST_P(HeapCensusTest, TableThatMakesNoSense) {
  const uint64_t count = fake_.addresses().mheap + layout_.mheap.allspans.offset + 8;
  FakeRuntime::write(count, uint64_t{1} << 40);
  EXPECT_FALSE(take_census(view(), kAll));
  FakeRuntime::write(count, uint64_t{0});
  EXPECT_TRUE(census().alive.empty());
}

// However many spans the process says that it has: what it says must not cost us memory.
TEST_P(HeapCensusTest, OfATableThatIsTooLargeSomeEntries) {
  const FakeSpan first = add(0, 8, 0);
  const FakeSpan second = add(1, 8, 0);
  const uint64_t table = fake_.addresses().mheap + layout_.mheap.allspans.offset;
  const auto entries =
      std::span(reinterpret_cast<const uint64_t*>(*view().memory().read<uint64_t>(table)), 2);
  std::vector<uint64_t> many(100'000);
  for (size_t i = 0; i < many.size(); ++i) many[i] = entries[i % 2];
  FakeRuntime::write(table, reinterpret_cast<uint64_t>(many.data()));
  FakeRuntime::write(table + 8, uint64_t{many.size()});
  const auto found = alive(census());
  EXPECT_TRUE(found.contains(first.object(0)) && found.contains(second.object(0)));

  rusage before{};
  rusage after{};
  ::getrusage(RUSAGE_SELF, &before);
  FakeRuntime::write(table + 8, uint64_t{1} << 29);
  take_census(view(), kAll);  // whatever it makes of what lies behind the table
  ::getrusage(RUSAGE_SELF, &after);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 256 * 1024);  // KiB
}

INSTANTIATE_TEST_SUITE_P(Go, HeapCensusTest, testing::Values(19, 22, 24, 26, 27));

}  // namespace
}  // namespace goheapd::runtime
