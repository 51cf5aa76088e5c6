#include "daemon/target_gc.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string_view>

#include "daemon/runtime/gc_cycle.h"

namespace goheapd {
namespace {

gobin::RuntimeLayout layout() {
  return *gobin::runtime_layout({.minor = 24, .text = {}, .experiments = {}}, gobin::Arch::amd64);
}

// Cycle `number` with stops of 20 and 30 microseconds, as the probe sends it.
model::GcCycleMemory memory(uint32_t number) {
  const auto fields = layout();
  const auto parts = runtime::gc_cycle_parts(fields, {});
  model::GcCycleMemory memory;
  for (size_t i = 0; i < parts.size(); ++i) memory.parts[i].resize(parts[i].bytes);
  const auto put = [&](size_t part, gobin::Field field, uint64_t value) {
    std::memcpy(memory.parts[part].data() + field.offset - parts[part].address, &value, field.size);
  };
  const uint64_t start = uint64_t{number} * 1'000'000'000;
  put(0, fields.work.t_sweep_term, start);
  put(0, fields.work.t_mark, start + 20'000);
  put(0, fields.work.t_mark_term, start + 5'000'000);
  put(0, fields.work.t_end, start + 5'030'000);
  put(0, fields.work.pause_ns, 50'000);
  put(2, fields.mstats.numgc, number);
  return memory;
}

model::TargetStatus status_of(const TargetGc& gc) {
  model::TargetStatus status;
  gc.fill(status);
  return status;
}

TEST(TargetGc, BothStopsOfACycleArePauses) {
  TargetGc gc;
  gc.on(memory(7), layout());
  gc.on(memory(7), layout());  // once more with gcstoptheworld
  auto status = status_of(gc);
  EXPECT_EQ(status.gc_cycles, 7u);
  EXPECT_EQ(status.gc_pause_buckets.back(), 2u);
  EXPECT_NEAR(status.gc_pause_sum_seconds, 50e-6, 1e-12);
  ASSERT_TRUE(status.last_gc);
  EXPECT_EQ(status.last_gc->number, 7u);
}

// Whichever comes first counts the pauses of a cycle.
TEST(TargetGc, AReadingAddsOnlyWhatNoEventTold) {
  TargetGc gc;
  model::GcReading reading;
  reading.cycles = 3;
  reading.new_pauses_ns = {1'000, 1'000, 1'000};
  gc.apply(reading);
  EXPECT_EQ(status_of(gc).gc_pause_buckets.back(), 3u);
  gc.on(memory(3), layout());  // seen, but its pauses are counted
  EXPECT_EQ(status_of(gc).gc_pause_buckets.back(), 3u);
  gc.on(memory(4), layout());
  EXPECT_EQ(status_of(gc).gc_pause_buckets.back(), 5u);
  reading.cycles = 6;
  reading.new_pauses_ns = {1'000, 1'000, 1'000};
  gc.apply(reading);
  // The events of 5 and 6 are on their way: they tell of both stops.
  EXPECT_EQ(status_of(gc).gc_pause_buckets.back(), 5u);
  EXPECT_EQ(status_of(gc).gc_cycles, 6u);
  gc.on(memory(6), layout());
  EXPECT_EQ(status_of(gc).gc_pause_buckets.back(), 7u);
  EXPECT_EQ(status_of(gc).gc_totals.missed, 1u);
}

model::GcReading reading_of(uint32_t cycles, size_t known) {
  model::GcReading reading;
  reading.cycles = cycles;
  reading.new_pauses_ns.assign(known, 1'000);
  return reading;
}

// The runtime remembers the last 256.
TEST(TargetGc, PausesBetweenReadingsThatAreForgottenAreCounted) {
  TargetGc gc;
  gc.apply(reading_of(1000, 255));  // the others were before we came
  EXPECT_EQ(gc.take_lost_pauses(), 0u);
  gc.apply(reading_of(1300, 255));
  EXPECT_EQ(gc.take_lost_pauses(), 45u);
  EXPECT_EQ(gc.take_lost_pauses(), 0u);
  gc.apply(reading_of(1200, 200));  // overtaken
  gc.apply(reading_of(1310, 10));
  gc.apply({});  // could not be read
  EXPECT_EQ(gc.take_lost_pauses(), 0u);
  EXPECT_EQ(status_of(gc).gc_pause_buckets.back(), 255u + 255 + 10);
  EXPECT_EQ(status_of(gc).gc_cycles, 1310u);
}

TEST(TargetGc, WithoutProbesReadingsTellAllAgain) {
  TargetGc gc;
  gc.on(memory(4), layout());
  gc.set_events_come(false);
  gc.apply(reading_of(7, 7));
  EXPECT_EQ(status_of(gc).gc_pause_buckets.back(), 2u + 3);
  gc.apply(reading_of(400, 255));
  EXPECT_EQ(gc.take_lost_pauses(), 400u - 255 - 7);
}

TEST(TargetGc, ALeakCheckIsOfTheCycleThatEndsNext) {
  TargetGc gc;
  gc.on(memory(1), layout());
  gc.on(model::GcLeakCheck{});
  gc.on(memory(2), layout());
  gc.on(memory(3), layout());
  EXPECT_FALSE(gc.history().find(1)->leak_check);
  EXPECT_TRUE(gc.history().find(2)->leak_check);
  EXPECT_FALSE(gc.history().find(3)->leak_check);
}

TEST(TargetGc, StopsAreCountedByReasonAndListedWhereNoCycleTellsOfThem) {
  TargetGc gc;
  constexpr uint32_t kMarkTermination = 1, kReadMemStats = 7;
  for (uint64_t i = 0; i < 1100; ++i) {
    gc.on(
        model::WorldStop{
            .time_ns = i * 1000 + 500, .began_ns = i * 1000, .reason = kReadMemStats, .text = {}},
        layout());
  }
  gc.on(model::WorldStop{.time_ns = 5'000'000, .began_ns = 2'000'000, .reason = kMarkTermination, .text = {}},
        layout());
  // A moment that lies before its beginning counts as none.
  gc.on(model::WorldStop{.time_ns = 1, .began_ns = 2, .reason = kMarkTermination, .text = {}}, layout());
  const model::GcLog log = gc.log();
  ASSERT_EQ(log.other_stops.size(), profile::StopHistory::kKept);
  EXPECT_EQ(log.other_stops.front().began_ns, 100'000u);
  EXPECT_EQ(log.other_stops.back().reason, "read mem stats");
  ASSERT_EQ(log.stop_totals.size(), 2u);
  EXPECT_EQ(log.stop_totals[0].stops, 1100u);
  EXPECT_FALSE(log.stop_totals[0].for_gc);
  EXPECT_NEAR(log.stop_totals[0].seconds, 1100 * 500e-9, 1e-12);
  EXPECT_EQ(log.stop_totals[1].stops, 2u);
  EXPECT_TRUE(log.stop_totals[1].for_gc);
  EXPECT_DOUBLE_EQ(log.stop_totals[1].seconds, 0.003);
  EXPECT_EQ(status_of(gc).stops.size(), 2u);
}

TEST(TargetGc, EveryReasonToStopIsThereFromTheStart) {
  for (const int minor : {19, 27}) {
    TargetGc gc;
    gc.expect_stops(minor);
    std::set<std::string_view> reasons;
    for (const model::StopTotal& total : status_of(gc).stops) {
      EXPECT_EQ(total.stops, 0u);
      EXPECT_EQ(total.for_gc, total.reason.starts_with("GC "));
      EXPECT_TRUE(reasons.insert(total.reason).second) << total.reason;
      EXPECT_EQ(total.reason.find("test"), std::string_view::npos) << total.reason;
    }
    EXPECT_EQ(reasons.size(), 12u);
    EXPECT_EQ(gc.log().stop_totals.size(), 0u) << "that list has what was seen";
    gc.on(model::WorldStop{.time_ns = 2, .began_ns = 1, .reason = 7, .text = "read mem stats"}, layout());
    EXPECT_EQ(status_of(gc).stops.size(), 12u);
  }
}

TEST(TargetGc, AProfileStandsForTheCycleBeforeTheLast) {
  TargetGc gc;
  EXPECT_EQ(gc.published_cycle(0), 0u);
  gc.on(memory(4), layout());
  gc.on(memory(5), layout());
  gc.on(model::GcProfileFlush{});
  EXPECT_EQ(gc.published_cycle(5), 4u);
  // runtime.GC() waits for the sweep and publishes it.
  gc.on(model::GcProfileFlush{.post_sweep = true});
  EXPECT_EQ(gc.published_cycle(5), 5u);
  EXPECT_TRUE(gc.inuse_comment(5).starts_with("inuse as of GC cycle 5, which ended at "));
  EXPECT_EQ(gc.inuse_comment(2), "inuse as of GC cycle 2");
  model::GcReading reading;
  reading.cycles = 6;
  reading.last_ends = {{5, 1'795'000'000'000'000'000}, {6, 1'795'000'001'250'000'000}};
  gc.apply(reading);
  EXPECT_EQ(gc.inuse_comment(6), "inuse as of GC cycle 6, which ended at 2026-11-18T11:06:41.250Z");
}

}  // namespace
}  // namespace goheapd
