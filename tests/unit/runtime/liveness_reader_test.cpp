#include "daemon/runtime/liveness_reader.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "tests/unit/runtime/fake_heap.h"

namespace goheapd::runtime {
namespace {

class LivenessReaderTest : public testing::TestWithParam<int>, protected FakeHeap {
 protected:
  LivenessReaderTest() : FakeHeap(GetParam()) {}

  static model::TrackedObject object(uint64_t address, uint32_t birth = kNow - 2) {
    return {address, 1, birth};
  }
  // Of objects in ascending order, to a reader that has seen the cycle before.
  static model::LivenessReading check(LivenessReader& reader,
                                      const std::vector<model::TrackedObject>& objects) {
    auto reading = reader.check(objects);
    if (!reading) throw std::runtime_error(to_string(reading.error()));
    return *reading;
  }
  model::LivenessReading check(const std::vector<model::TrackedObject>& objects) {
    const RuntimeView runtime = view();
    LivenessReader reader(runtime);
    fake_.set_cycles(kCycles - 1);
    check(reader, {});
    fake_.set_cycles(kCycles);
    return check(reader, objects);
  }
  static std::vector<uint64_t> addresses(const std::vector<model::TrackedObject>& objects) {
    std::vector<uint64_t> result;
    for (const auto& object : objects) result.push_back(object.address);
    return result;
  }
};

TEST_P(LivenessReaderTest, SweptSpansHaveTheMarksInAllocBits) {
  for (const int generation : {0, 3}) {
    const FakeSpan span = add_span(static_cast<uint64_t>(generation), 1024, generation);
    set_bit(span.alloc_bits, 2);
    set_bit(span.mark_bits, 1);  // the cycle that is going on has come here already
    const auto reading = check({object(span.object(1)), object(span.object(2))});
    EXPECT_EQ(addresses(reading.dead), std::vector<uint64_t>{span.object(1)}) << generation;
    EXPECT_EQ(reading.judged, 2u);
    EXPECT_EQ(reading.sweepgen, kNow);
    EXPECT_EQ(reading.lost_verdicts, 0u);
  }
}

TEST_P(LivenessReaderTest, UnsweptSpansHaveThemInMarkBits) {
  for (const int generation : {-2, 1}) {
    const FakeSpan span = add_span(static_cast<uint64_t>(generation + 2), 1024, generation);
    set_bit(span.alloc_bits, 1);  // survived the cycle before
    set_bit(span.mark_bits, 2);
    const auto reading = check({object(span.object(1)), object(span.object(2))});
    EXPECT_EQ(addresses(reading.dead), std::vector<uint64_t>{span.object(1)}) << generation;
    EXPECT_EQ(reading.judged, 2u);
  }
}

TEST_P(LivenessReaderTest, NoVerdictWhileSweepingAndAfterTheCycle) {
  for (const int generation : {-1, 2, 5, -4, 77}) {
    const auto page = static_cast<uint64_t>(generation + 4) % 16;
    const FakeSpan span = add_span(page, 1024, generation);
    const auto reading = check({object(span.object(1))});
    EXPECT_TRUE(reading.dead.empty()) << generation;
    EXPECT_EQ(reading.unknown, 1u);
    EXPECT_EQ(reading.lost_verdicts, 1u);
    EXPECT_EQ(reading.due_verdicts, 1u);
  }
}

// Bits are found by the word: objects far apart in one span, neighbours in one word, and spans in between.
TEST_P(LivenessReaderTest, EveryBitOfASpan) {
  const FakeSpan small = add_span(0, 8, 0);
  const FakeSpan other = add_span(1, 8, -2);
  std::vector<model::TrackedObject> objects;
  std::vector<uint64_t> dead;
  for (const FakeSpan& span : {small, other}) {
    for (uint64_t i = 0; i < 1024; i += i % 3 + 1) {
      objects.push_back(object(span.object(i)));
      if (i % 5 == 0) {
        set_bit(span.start == small.start ? span.alloc_bits : span.mark_bits, i);
      } else {
        dead.push_back(span.object(i));
      }
    }
  }
  EXPECT_EQ(addresses(check(objects).dead), dead);
}

TEST_P(LivenessReaderTest, YoungObjectsAreNotJudged) {
  const FakeSpan span = add_span(0, 64, 0);
  const auto reading = check(
      {object(span.object(0), kNow), object(span.object(1), kNow + 2), object(span.object(2), kNow - 2)});
  EXPECT_EQ(addresses(reading.dead), std::vector<uint64_t>{span.object(2)});
  EXPECT_EQ(reading.young, 2u);
  EXPECT_EQ(reading.judged, 1u);
}

TEST_P(LivenessReaderTest, SpansThatAreGoneHaveNoLivingObjects) {
  const FakeSpan freed = add_span(0, 64, 0);
  set(freed, layout_.mspan.state, 0);
  const FakeSpan stack = add_span(1, 64, 0);
  set(stack, layout_.mspan.state, 2);
  const FakeSpan moved = add_span(2, 64, 0);  // its struct stands for other pages now
  set(moved, layout_.mspan.start_addr, heap_ + 9 * gobin::kGoPageSize);
  const FakeSpan shorter = add_span(3, 64, 0);
  set(shorter, layout_.mspan.nelems, 5);
  for (const FakeSpan& span : {freed, stack, moved, shorter}) {
    for (uint64_t i = 0; i < 128; ++i) set_bit(span.alloc_bits, i);
  }
  const auto reading =
      check({object(freed.object(3)), object(stack.object(3)), object(moved.object(3)),
             object(shorter.object(4)), object(shorter.object(5)), object(heap_ + 12 * gobin::kGoPageSize)});
  EXPECT_EQ(reading.dead.size(), 5u);
  EXPECT_EQ(reading.judged, 6u);
}

TEST_P(LivenessReaderTest, LargeObjects) {
  const FakeSpan dead = add_span(0, 5 * gobin::kGoPageSize, 0, 5);
  const FakeSpan alive = add_span(5, 6 * gobin::kGoPageSize, -2, 6);
  set_bit(alive.mark_bits, 0);
  const auto reading = check({object(dead.start), object(alive.start)});
  EXPECT_EQ(addresses(reading.dead), std::vector<uint64_t>{dead.start});
}

// Go 1.26 and later: a span of small objects keeps its marks in its last 128 bytes until it is swept.
TEST_P(LivenessReaderTest, InlineMarks) {
  const FakeSpan span = add_span(0, 64, -2);
  set_bit(span.start + gobin::kGoPageSize - 64, 1);
  set_bit(span.mark_bits, 2);
  const FakeSpan large = add_span(1, 1024, -2);  // these have none
  set_bit(large.start + gobin::kGoPageSize - 64, 1);
  const auto reading = check({object(span.object(1)), object(span.object(2)), object(large.object(1))});
  std::vector<uint64_t> dead = {span.object(1), large.object(1)};
  if (GetParam() >= 26) dead.erase(dead.begin());
  EXPECT_EQ(addresses(reading.dead), dead);
}

TEST_P(LivenessReaderTest, MissedCyclesAreCounted) {
  const FakeSpan swept = add_span(0, 64, 0);
  const FakeSpan unswept = add_span(1, 64, -2);
  for (const uint64_t i : {1, 2, 3}) {
    set_bit(swept.alloc_bits, i);
    set_bit(unswept.mark_bits, i);
  }
  // Died in the cycle that was missed; the slot has another object now. The span still knows.
  set_bit(unswept.alloc_bits, 1);
  set_bit(unswept.alloc_bits, 3);
  const RuntimeView runtime = view();
  LivenessReader reader(runtime);
  fake_.set_cycles(kCycles - 2);
  const auto first = check(reader, {});
  EXPECT_EQ(first.missed_cycles, 0u);
  fake_.set_cycles(kCycles);
  const auto reading =
      check(reader, {object(swept.object(1), kNow - 8), object(swept.object(2), kNow - 2),
                     object(unswept.object(1), kNow - 8), object(unswept.object(2), kNow - 8),
                     object(unswept.object(3), kNow - 2)});
  EXPECT_EQ(reading.missed_cycles, 1u);
  EXPECT_EQ(addresses(reading.dead), std::vector<uint64_t>{unswept.object(2)});
  EXPECT_EQ(reading.due_verdicts,
            5u + 2);                     // those born after the missed cycle and the dead one owe it nothing
  EXPECT_EQ(reading.lost_verdicts, 1u);  // only the first may be another by now
  // Nothing is missed when the same cycle is asked about again.
  const auto again = check(reader, {object(swept.object(1), kNow - 8)});
  EXPECT_EQ(again.missed_cycles, 0u);
  EXPECT_EQ(again.lost_verdicts, 0u);
}

// What was there before goheapd came is known to live, or not to: it is in no count of what is missing.
TEST_P(LivenessReaderTest, OldObjectsGoOutOfSight) {
  const FakeSpan swept = add_span(0, 1024, 0);
  const FakeSpan moving = add_span(1, 1024, -1);
  set_bit(swept.alloc_bits, 1);
  auto old = [](uint64_t address, uint32_t seen) { return model::TrackedObject{address, 1, seen, true}; };
  auto reading = check(
      {old(swept.object(1), kNow - 2), old(swept.object(2), kNow - 2), old(moving.object(1), kNow - 2)});
  EXPECT_EQ(addresses(reading.dead), std::vector<uint64_t>{swept.object(2)});
  EXPECT_EQ(addresses(reading.out_of_sight), std::vector<uint64_t>{moving.object(1)});
  EXPECT_EQ(reading.judged + reading.unknown + reading.due_verdicts + reading.lost_verdicts, 0u);
  // The cycle before was not looked at: another object may be in the slot, if it is not as old as that.
  const RuntimeView runtime = view();
  LivenessReader late(runtime);
  reading = check(late, {old(swept.object(1), kNow - 4)});
  EXPECT_EQ(addresses(reading.out_of_sight), std::vector<uint64_t>{swept.object(1)});
  LivenessReader in_time(runtime);
  reading = check(in_time, {old(swept.object(1), kNow - 2)});
  EXPECT_TRUE(reading.out_of_sight.empty());
}

// A reader's first cycle: what happened since the births, nobody saw.
TEST_P(LivenessReaderTest, FirstCheckKnowsOfNoCycleBefore) {
  const FakeSpan span = add_span(0, 64, 0);
  set_bit(span.alloc_bits, 1);
  const RuntimeView runtime = view();
  LivenessReader reader(runtime);
  const auto reading = check(reader, {object(span.object(1), kNow - 6)});
  EXPECT_EQ(reading.missed_cycles, 0u);
  EXPECT_EQ(reading.due_verdicts, 3u);
  EXPECT_EQ(reading.lost_verdicts, 2u);
}

TEST_P(LivenessReaderTest, HostileSpans) {
  const uint64_t nowhere = 0x7000;  // below what Linux lets anyone map
  const std::vector<std::pair<gobin::Field, uint64_t>> damages = {{layout_.mspan.elemsize, 0},
                                                                  {layout_.mspan.npages, ~uint64_t{0}},
                                                                  {layout_.mspan.nelems, ~uint64_t{0}},
                                                                  {layout_.mspan.alloc_bits, nowhere},
                                                                  {layout_.mspan.alloc_bits, ~uint64_t{0}},
                                                                  {layout_.mspan.elemsize, 1},
                                                                  {layout_.mspan.start_addr, ~uint64_t{0}}};
  for (const auto& [field, value] : damages) {
    const FakeSpan span = add_span(0, 64, 0);
    set_bit(span.alloc_bits, 127);
    set(span, field, value);
    const auto reading = check({object(span.object(127))});
    EXPECT_EQ(reading.judged + reading.unknown, 1u);
  }
  // Addresses that no heap has.
  const auto wild = check({object(8), object(1ull << 40), object(~uint64_t{0} - 7)});
  EXPECT_EQ(wild.unknown + wild.dead.size(), 3u);
}

INSTANTIATE_TEST_SUITE_P(Go, LivenessReaderTest, testing::Values(19, 22, 24, 26, 27));

}  // namespace
}  // namespace goheapd::runtime
