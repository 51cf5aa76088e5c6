#include "daemon/runtime/gc_cycle.h"

#include <gtest/gtest.h>

#include <cstring>

namespace goheapd::runtime {
namespace {

// The runtime's variables as an array of bytes each, and the copies that a probe makes of them.
class GcCycleTest : public testing::TestWithParam<int> {
 protected:
  GcCycleTest()
      : layout_(
            *gobin::runtime_layout({.minor = GetParam(), .text = {}, .experiments = {}}, gobin::Arch::amd64)),
        work_(layout_.work.sizeof_struct),
        controller_(layout_.gc_controller.sizeof_struct),
        memstats_(layout_.mstats.sizeof_struct),
        init_time_(8) {
    put(work_, layout_.work.t_sweep_term, 5'000);
    put(work_, layout_.work.t_mark, 6'000);
    put(work_, layout_.work.t_mark_term, 9'000);
    put(work_, layout_.work.t_end, 9'500);
    put(work_, layout_.work.user_forced, 1);
    put(work_, layout_.work.stwprocs, 3);
    put(work_, layout_.work.maxprocs, 8);
    put(work_, layout_.work.heap0, 100);
    put(work_, layout_.work.heap2, 50);
    put(controller_, layout_.gc_controller.last_heap_goal, 200);
    put(controller_, layout_.gc_controller.max_stack_scan, 11);
    put(controller_, layout_.gc_controller.last_stack_scan, 12);
    put(controller_, layout_.gc_controller.memory_limit, INT64_MAX);
    put(controller_, layout_.gc_controller.gc_percent_heap_goal, 4 << 20);
    put(controller_, layout_.gc_controller.triggered, UINT64_MAX);
    put(memstats_, layout_.mstats.numgc, 42);
    put(init_time_, gobin::Field{0, 8}, 1'000);
  }
  static void put(std::vector<std::byte>& bytes, gobin::Field field, uint64_t value) {
    ASSERT_LE(field.end(), bytes.size());
    std::memcpy(bytes.data() + field.offset, &value, field.size);
  }
  static uint64_t address(const std::vector<std::byte>& bytes) {
    return reinterpret_cast<uint64_t>(bytes.data());
  }
  model::GcCycleMemory copy() const {
    const auto parts = gc_cycle_parts(
        layout_, {address(work_), address(controller_), address(memstats_), address(init_time_)});
    model::GcCycleMemory memory;
    for (size_t i = 0; i < parts.size(); ++i) {
      const auto* begin = reinterpret_cast<const std::byte*>(parts[i].address);
      memory.parts[i].assign(begin, begin + parts[i].bytes);
    }
    return memory;
  }

  gobin::RuntimeLayout layout_;
  std::vector<std::byte> work_, controller_, memstats_, init_time_;
};

TEST_P(GcCycleTest, FieldsAreTakenFromTheirPlaces) {
  const auto cycle = decode_gc_cycle(layout_, copy());
  ASSERT_TRUE(cycle) << to_string(cycle.error());
  EXPECT_EQ(cycle->number, 42u);
  EXPECT_TRUE(cycle->forced);
  EXPECT_EQ(cycle->program_start_ns, 1'000);
  EXPECT_EQ(cycle->start_ns, 5'000);
  EXPECT_EQ(cycle->end_ns, 9'500);
  EXPECT_EQ(cycle->stop_procs, 3);
  EXPECT_EQ(cycle->max_procs, 8);
  EXPECT_EQ(cycle->heap_before, 100u);
  EXPECT_EQ(cycle->heap_marked, 50u);
  EXPECT_EQ(cycle->goal, 200u);
  EXPECT_EQ(cycle->next_goal, 4u << 20);
  EXPECT_EQ(cycle->next_trigger, (4u << 20) / 64 * 61);
  EXPECT_EQ(cycle->memory_limit, INT64_MAX);
  EXPECT_EQ(cycle->stack_bytes, GetParam() < 21 ? 11u : 12u);
}

TEST_P(GcCycleTest, TheTriggerIsThatOfItsStart) {
  auto memory = copy();
  memory.start_ns = 5'500;  // while the world stopped for it
  memory.controller_at_start = memory.parts[1];
  auto cycle = decode_gc_cycle(layout_, memory);
  ASSERT_TRUE(cycle && cycle->trigger);
  EXPECT_EQ(*cycle->trigger, (4u << 20) / 64 * 61);
  for (const uint64_t other :
       {0, 4'999, 6'001}) {  // not seen, of a stop before, of one that came while it marked
    memory.start_ns = other;
    cycle = decode_gc_cycle(layout_, memory);
    EXPECT_TRUE(cycle && !cycle->trigger) << other;
  }
  memory.start_ns = 5'500;
  memory.controller_at_start.resize(7);
  cycle = decode_gc_cycle(layout_, memory);
  EXPECT_TRUE(cycle && !cycle->trigger);
}

// The kernel copies at most this much of each.
TEST_P(GcCycleTest, PartsAreSmall) {
  for (const MemoryRange& part : gc_cycle_parts(layout_, {})) EXPECT_LE(part.bytes, 384u);
}

TEST_P(GcCycleTest, AnUnfinishedCycleIsNone) {
  put(work_, layout_.work.t_end, 4'000);  // of the cycle before
  EXPECT_FALSE(decode_gc_cycle(layout_, copy()));
}

TEST_P(GcCycleTest, APartThatIsTooShortIsAnError) {
  for (size_t part = 0; part < model::kGcParts; ++part) {
    auto memory = copy();
    memory.parts[part].resize(7);
    EXPECT_FALSE(decode_gc_cycle(layout_, memory)) << part;
  }
}

INSTANTIATE_TEST_SUITE_P(Go, GcCycleTest, testing::Values(19, 21, 24, 27));

}  // namespace
}  // namespace goheapd::runtime
