#include "daemon/runtime/heap_pacing.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace goheapd::runtime {
namespace {

constexpr uint64_t kMiB = 1 << 20;

// Nothing alive, a goal of 4 MiB, no limit, no cycle running.
HeapGoalInputs fresh() {
  HeapGoalInputs inputs;
  inputs.percent_goal = 4 * kMiB;
  inputs.triggered = UINT64_MAX;
  inputs.memory_limit = INT64_MAX;
  return inputs;
}

TEST(HeapPacing, ACycleBeginsSoEarlyThatItEndsAtTheGoal) {
  HeapGoalInputs inputs = fresh();
  inputs.runway = kMiB;
  EXPECT_EQ(heap_trigger(inputs, 24), 3 * kMiB);
  EXPECT_EQ(heap_goal(inputs, 24), 4 * kMiB);
}

TEST(HeapPacing, ItBeginsWithinBounds) {
  HeapGoalInputs inputs = fresh();
  EXPECT_EQ(heap_trigger(inputs, 24), 4 * kMiB / 64 * 61);
  inputs.runway = 10 * kMiB;
  EXPECT_EQ(heap_trigger(inputs, 24), 4 * kMiB / 64 * 45);
  inputs.sweep_distance_trigger = 3 * kMiB;
  EXPECT_EQ(heap_trigger(inputs, 24), 3 * kMiB);
  inputs.sweep_distance_trigger = 5 * kMiB;  // moves the goal, too
  EXPECT_EQ(heap_goal(inputs, 24), 5 * kMiB);
  EXPECT_EQ(heap_trigger(inputs, 24), 5 * kMiB);
}

TEST(HeapPacing, ALargeHeapLeavesFourMebibytes) {
  HeapGoalInputs inputs = fresh();
  inputs.heap_marked = 100 * kMiB;
  inputs.percent_goal = 200 * kMiB;
  EXPECT_EQ(heap_trigger(inputs, 24), 196 * kMiB);
}

TEST(HeapPacing, WithMoreAliveThanTheGoalItBeginsAtOnce) {
  HeapGoalInputs inputs = fresh();
  inputs.heap_marked = 5 * kMiB;
  EXPECT_EQ(heap_trigger(inputs, 24), 4 * kMiB);
}

TEST(HeapPacing, AMemoryLimitDoesNotWaitForTheSweep) {
  HeapGoalInputs inputs = fresh();
  inputs.percent_goal = 100 * kMiB;
  inputs.sweep_distance_trigger = 30 * kMiB;
  inputs.memory_limit = 20 * kMiB;
  inputs.runway = 4 * kMiB;
  EXPECT_EQ(heap_goal(inputs, 19), 19 * kMiB);
  EXPECT_EQ(heap_trigger(inputs, 19), 15 * kMiB);
}

TEST(HeapPacing, ACopyThatIsTooShortIsAnError) {
  const auto layout =
      *gobin::runtime_layout({.minor = 27, .text = {}, .experiments = {}}, gobin::Arch::amd64);
  std::vector<std::byte> copy(layout.gc_controller.mapped_ready.end());
  const uint64_t runway = 77;
  std::memcpy(copy.data() + layout.gc_controller.runway.offset, &runway, sizeof runway);
  const auto inputs = heap_goal_inputs(layout, ByteView(copy));
  ASSERT_TRUE(inputs);
  EXPECT_EQ(inputs->runway, 77u);
  copy.pop_back();
  EXPECT_FALSE(heap_goal_inputs(layout, ByteView(copy)));
}

}  // namespace
}  // namespace goheapd::runtime
