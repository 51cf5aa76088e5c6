#include "daemon/target.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "daemon/base/clock.h"
#include "daemon/sample_distance.h"

namespace goheapd {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;

model::TargetStatus status_of(pid_t pid) {
  model::TargetStatus status;
  status.process = {pid, 100, 0};
  status.comm = "server";
  status.exe = "/usr/bin/server";
  status.started_wall_ns = 1;
  return status;
}

TargetReading reading(uint64_t at, uint64_t allocs, uint64_t frees) {
  TargetReading result;
  result.buckets.begin_ns = at;
  result.buckets.end_ns = at + 1000;
  result.buckets.sample_rate = 1;
  result.buckets.consistent = true;
  result.buckets.buckets.push_back({0x99, 100, {0x1000}, {allocs, frees}, {allocs, frees}});
  result.new_sites.push_back({0x99, model::AllocationKind::slice, "main.f"});
  return result;
}

class TargetTest : public ::testing::Test {
 protected:
  TargetTest() : target_(status_of(42), 20) {}
  Target target_;
};

TEST_F(TargetTest, StatusFollowsReadingsAndEvents) {
  target_.start(nullptr, 0, nullptr, model::Mode::sampled, true, model::Mode::sampled);
  target_.apply(reading(kSecond, 10, 4));
  target_.on(model::SampledBirth{42, 2 * kSecond, 0xc000, 0x99, 1});
  const model::TargetStatus status = target_.status();
  EXPECT_EQ(status.state, model::TargetState::attached);
  EXPECT_EQ(status.source, "runtime");
  EXPECT_TRUE(status.has_live);
  EXPECT_EQ(status.samples, 1u);
  EXPECT_DOUBLE_EQ(status.live_bytes, 700);
  EXPECT_DOUBLE_EQ(status.alloc_bytes[static_cast<size_t>(model::AllocationKind::slice)], 100);
  ASSERT_FALSE(status.top_sites.empty());
  EXPECT_EQ(status.top_sites[0].function, "main.f");
}

TEST_F(TargetTest, PausesBecomeACumulativeHistogram) {
  target_.start(nullptr, 0, nullptr, model::Mode::buckets, false, model::Mode::buckets);
  TargetReading first = reading(kSecond, 1, 0);
  first.gc.cycles = 3;
  first.gc.new_pauses_ns = {4'000, 80'000, 400'000'000};
  target_.apply(std::move(first));
  const model::TargetStatus status = target_.status();
  EXPECT_EQ(status.gc_cycles, 3u);
  EXPECT_EQ(status.gc_pause_buckets.front(), 1u);  // up to 5 us
  EXPECT_EQ(status.gc_pause_buckets[4], 2u);       // up to 100 us
  EXPECT_EQ(status.gc_pause_buckets[11], 2u);      // up to 250 ms
  EXPECT_EQ(status.gc_pause_buckets.back(), 3u);   // all
  EXPECT_NEAR(status.gc_pause_sum_seconds, 0.400084, 1e-9);
}

// Mode auto: what is counted in exact mode and what is sampled before and after add up.
TEST_F(TargetTest, LevelsAddUp) {
  target_.start(nullptr, 0, nullptr, model::Mode::sampled, true, model::Mode::automatic);
  target_.apply(reading(kSecond, 10, 4));
  target_.on(model::SampledBirth{42, 2 * kSecond, 0xc000, 0x99, 1});
  target_.set_level(probe::Level::exact, "slow");
  EXPECT_TRUE(target_.is_exact());
  EXPECT_EQ(target_.status().mode, model::Mode::exact);
  EXPECT_EQ(target_.status().reason, "slow");
  target_.on(model::SampledBirth{42, 3 * kSecond, 0xc100, 0x99, 1});
  target_.on(model::ExactStack{42, 7, false, {0x10}});
  target_.name_stack(7, model::AllocationKind::map, "main.f");
  model::ExactCount count;
  count.stack_hash = 7;
  count.objects = 3;
  count.slot_bytes = 48;
  target_.apply(std::vector{count});
  target_.set_level(probe::Level::sampled, "fast");
  EXPECT_FALSE(target_.is_exact());
  target_.on(model::SampledBirth{42, 4 * kSecond, 0xc200, 0x99, 1});

  const model::TargetStatus status = target_.status();
  EXPECT_EQ(status.mode, model::Mode::sampled);
  EXPECT_EQ(status.mode_changes, 2u);
  EXPECT_DOUBLE_EQ(status.alloc_bytes[static_cast<size_t>(model::AllocationKind::slice)], 200);
  EXPECT_DOUBLE_EQ(status.alloc_bytes[static_cast<size_t>(model::AllocationKind::map)], 48);
  EXPECT_DOUBLE_EQ(status.live_bytes, 900);  // 6 of the reading and three since
  const auto row = std::find_if(status.top_sites.begin(), status.top_sites.end(),
                                [](const auto& site) { return site.function == "main.f"; });
  ASSERT_NE(row, status.top_sites.end());
  EXPECT_DOUBLE_EQ(row->alloc_bytes, 248);
  const auto snapshot = target_.snapshot({});
  ASSERT_EQ(snapshot->counted.size(), 1u);
  EXPECT_EQ(snapshot->counted[0].published.alloc_objects, 3);
  EXPECT_EQ(snapshot->samples[0].published.alloc_objects, 12);

  target_.set_level(probe::Level::buckets, "dear");
  EXPECT_EQ(target_.status().mode, model::Mode::buckets);
}

probe::Governor governor_at(probe::Level level) {
  return probe::Governor({.budget = 0.01, .levels = {level}, .start = level, .exact_hit_ns = 1000}, kSecond);
}

// What the mode alone does not tell: at level gc it is still called sampled.
TEST_F(TargetTest, TheLevelIsTold) {
  target_.start(nullptr, 0, nullptr, model::Mode::sampled, true, model::Mode::automatic);
  target_.follow_spans(nullptr);
  EXPECT_EQ(target_.status().level, "");
  EXPECT_EQ(target_.status().sampled_share, 1);
  EXPECT_FALSE(target_.status().overhead_limit);
  const auto at = [this](probe::Level level) {
    target_.govern(governor_at(level));
    target_.set_level(level, "a test");
    return target_.status();
  };
  const model::TargetStatus sparse = at(probe::Level::sparse);
  EXPECT_EQ(sparse.level, "sparse");
  EXPECT_EQ(sparse.sampled_share, 1);
  EXPECT_EQ(sparse.sample_rate, 16 * SampleDistance::kSparsest);
  const model::TargetStatus slices = at(probe::Level::slices);
  EXPECT_EQ(slices.level, "slices");
  EXPECT_EQ(slices.sample_rate, SampleDistance::kSparsest);
  EXPECT_LT(slices.sampled_share, 1);
  const model::TargetStatus gc = at(probe::Level::gc);
  EXPECT_EQ(gc.level, "gc");
  EXPECT_EQ(gc.mode, model::Mode::sampled);
  EXPECT_EQ(gc.sampled_share, 0);
  EXPECT_EQ(gc.overhead_limit, 0.01);
  target_.mark_exited(5, 7);
  EXPECT_EQ(target_.status().level, "gc");
  EXPECT_EQ(target_.status().sampled_share, 0);
}

// The runtime's own records are read whatever probes there are.
TEST_F(TargetTest, SourceRuntimeHasSamplesAtEveryLevel) {
  target_.start(nullptr, 0, nullptr, model::Mode::sampled, true, model::Mode::automatic);
  for (const probe::Level level : {probe::Level::sampled, probe::Level::buckets, probe::Level::none}) {
    target_.govern(governor_at(level));
    target_.set_level(level, "a test");
    EXPECT_EQ(target_.status().sampled_share, 1) << probe::name_of(level);
  }
}

// It may end before anybody has asked for its status.
TEST_F(TargetTest, AnExitedTargetIsShownAsItWasLast) {
  target_.start(nullptr, 0, nullptr, model::Mode::sampled, true, model::Mode::automatic);
  target_.follow_spans(nullptr);
  target_.govern(governor_at(probe::Level::slices));
  target_.set_level(probe::Level::slices, "it was too much");
  const auto slices_comment = [this] {
    const auto comments = target_.snapshot({})->comments;
    return std::count_if(comments.begin(), comments.end(), [](const std::string& comment) {
      return comment.starts_with("samples are taken ") && comment.ends_with(": it was too much");
    });
  };
  EXPECT_EQ(slices_comment(), 1);
  target_.mark_exited(5, 7);
  EXPECT_EQ(slices_comment(), 1);
  const model::TargetStatus status = target_.status();
  EXPECT_EQ(status.level, "slices");
  EXPECT_EQ(status.sample_rate, SampleDistance::kSparsest);
  EXPECT_LT(status.sampled_share, 1);
}

TEST_F(TargetTest, DeathsAndMissedCyclesOfSourceSpansAreTold) {
  target_.start(nullptr, 0, nullptr, model::Mode::sampled, true, model::Mode::sampled);
  EXPECT_FALSE(target_.status().verdicts);
  target_.follow_spans(nullptr);
  const auto read = [this](profile::SpanReading reading) {
    target_.spans()->start_reading();
    target_.apply(reading);
    return *target_.status().verdicts;
  };
  model::SpanRunOpened run;
  run.pid = 42;
  run.time_ns = kSecond;
  run.address = 0xc000;
  run.span_class = 12;
  run.object_bytes = 64;
  run.planned_objects = 128;
  run.mean_distance = SampleDistance::kSparsest;
  run.stack = {0x10};
  target_.on(run);
  EXPECT_EQ(target_.status().samples, 1u);
  profile::SpanReading reading;
  reading.liveness.sweepgen = 4;
  reading.liveness.due_verdicts = 1;
  reading.liveness.dead = {{run.address, run.time_ns, run.sweepgen}};
  EXPECT_TRUE(read(reading).inuse_reliable);
  EXPECT_EQ(target_.status().samples, 2u);  // a birth and a death
  EXPECT_EQ(target_.spans()->take_deaths(), 1u);
  EXPECT_EQ(target_.spans()->take_deaths(), 0u);

  reading.liveness.sweepgen = 10;
  reading.liveness.missed_cycles = 2;
  reading.liveness.due_verdicts = 30;
  reading.liveness.lost_verdicts = 20;
  const model::VerdictTotals verdicts = read(reading);
  EXPECT_EQ(verdicts.missed_cycles, 2u);
  EXPECT_EQ(verdicts.lost_verdicts, 20u);
  EXPECT_FALSE(verdicts.inuse_reliable);
  // Another source has nothing of it.
  target_.set_status(status_of(42));
  target_.start(nullptr, 0, nullptr, model::Mode::sampled, true, model::Mode::sampled);
  EXPECT_FALSE(target_.status().verdicts);
}

TEST_F(TargetTest, CountersGoOnWhenTheSourceChanges) {
  constexpr auto kSlice = static_cast<size_t>(model::AllocationKind::slice);
  target_.start(nullptr, 0, nullptr, model::Mode::sampled, true, model::Mode::sampled);
  target_.apply(reading(kSecond, 10, 4));
  target_.on(model::SampledBirth{42, 2 * kSecond, 0xc000, 0x99, 1});
  target_.set_status(status_of(42));
  target_.start(nullptr, 0, nullptr, model::Mode::sampled, true, model::Mode::sampled);
  EXPECT_EQ(target_.status().samples, 1u);
  EXPECT_DOUBLE_EQ(target_.status().alloc_bytes[kSlice], 100);
  target_.apply(reading(3 * kSecond, 11, 4));  // what the new books count from
  EXPECT_DOUBLE_EQ(target_.status().alloc_bytes[kSlice], 100);
  target_.on(model::SampledBirth{42, 4 * kSecond, 0xd000, 0x99, 1});
  const model::TargetStatus status = target_.status();
  EXPECT_DOUBLE_EQ(status.alloc_bytes[kSlice], 200);
  EXPECT_EQ(status.samples, 2u);
  EXPECT_DOUBLE_EQ(status.top_sites[0].alloc_bytes, 200);
}

TEST_F(TargetTest, CountersOfProbesAndBooksGoOnWhenTheyAreReplaced) {
  target_.start(nullptr, 0, nullptr, model::Mode::sampled, true, model::Mode::sampled);
  target_.apply(reading(kSecond, 10, 4));
  target_.apply(reading(2 * kSecond, 13, 4));  // three births of which no event has told
  target_.note_cost(2 * kSecond, 50, 7000);
  ASSERT_EQ(target_.status().settled_objects, 3u);
  target_.set_status(status_of(42));
  EXPECT_EQ(target_.status().probe_hits, 50u);
  target_.start(nullptr, 0, nullptr, model::Mode::sampled, true, model::Mode::sampled);
  model::TargetStatus status = target_.status();
  EXPECT_EQ(status.probe_hits, 50u);
  EXPECT_EQ(status.probe_cpu_ns, 7000u);
  EXPECT_EQ(status.settled_objects, 3u);
  target_.note_cost(3 * kSecond, 1, 100);
  target_.apply(reading(3 * kSecond, 13, 4));
  target_.apply(reading(4 * kSecond, 14, 4));
  status = target_.status();
  EXPECT_EQ(status.probe_hits, 51u);
  EXPECT_EQ(status.probe_cpu_ns, 7100u);
  EXPECT_EQ(status.settled_objects, 4u);
}

// Differences are taken of one set of books, or of what the runtime itself has written.
TEST_F(TargetTest, SnapshotsTellWhichBooksTheyAreOf) {
  const auto start = [this] {
    target_.set_status(status_of(42));
    target_.start(nullptr, 0, nullptr, model::Mode::sampled, true, model::Mode::automatic);
    target_.apply(reading(kSecond, 10, 4));
    return target_.snapshot({});
  };
  const auto first = start();
  EXPECT_TRUE(first->is_of_records);
  const auto second = start();
  EXPECT_NE(first->books, second->books);
  target_.set_level(probe::Level::exact, "slow");
  const auto counted = target_.snapshot({});
  EXPECT_EQ(second->books, counted->books);
  EXPECT_FALSE(counted->is_of_records);
  start();
  target_.follow_spans(nullptr);
  EXPECT_FALSE(target_.snapshot({})->is_of_records);
  EXPECT_NE(target_.snapshot({})->books, counted->books);
}

TEST_F(TargetTest, TheRateIsThatOfTheLastSeconds) {
  target_.start(nullptr, 0, nullptr, model::Mode::sampled, true, model::Mode::sampled);
  target_.apply(reading(kSecond, 10, 0));
  target_.tick(10 * kSecond);
  target_.apply(reading(11 * kSecond, 60, 0));
  target_.tick(15 * kSecond);
  EXPECT_DOUBLE_EQ(target_.status().alloc_bytes_per_second, 1000);
}

TEST_F(TargetTest, AnExitedTargetsProfileCountsToItsEnd) {
  target_.start(nullptr, 0, nullptr, model::Mode::sampled, true, model::Mode::sampled);
  target_.apply(reading(kSecond, 10, 4));
  target_.on(model::SampledBirth{42, 2 * kSecond, 0xc000, 0x99, 1});
  EXPECT_EQ(target_.snapshot({})->samples[0].published.alloc_objects, 10);
  target_.mark_exited(5, 7);
  const auto snapshot = target_.snapshot({"a loss"});
  EXPECT_EQ(snapshot->samples[0].published, (model::HeapValues{11, 1100, 6, 600}));
  EXPECT_EQ(snapshot->end_wall_ns, 5);
  EXPECT_EQ(snapshot->comments.back(), "a loss");
  EXPECT_EQ(target_.exited_ns(), 7u);
  const auto about_missing = [this] {
    const auto comments = target_.snapshot({})->comments;
    return std::count(comments.begin(), comments.end(),
                      "2 sampled objects are missing: the process ended before their stacks were read");
  };
  EXPECT_EQ(about_missing(), 0);
  for (const uint64_t bucket : {0x77, 0x78})
    target_.on(model::SampledBirth{42, 3 * kSecond, 0xd000, bucket, 1});
  EXPECT_EQ(about_missing(), 1);
}

// The clock was set since it was looked at: the fixture says that the process began in 1970, its start says when it did.
TEST_F(TargetTest, MomentsFollowTheWallClock) {
  target_.start(nullptr, 0, nullptr, model::Mode::sampled, true, model::Mode::sampled);
  target_.apply(reading(kSecond, 10, 4));
  const int64_t began = boot_time_of_ticks(100);
  EXPECT_NEAR(static_cast<double>(target_.status().started_wall_ns),
              static_cast<double>(wall_time_of_boot(began)), 2e9);
  const int64_t shown = target_.status().started_wall_ns;
  EXPECT_EQ(target_.status().started_wall_ns, shown);
  EXPECT_EQ(target_.snapshot({})->start_boot_ns, began);
}

TEST_F(TargetTest, AnExitedTargetsStatusIsMadeOnce) {
  target_.start(nullptr, 0, nullptr, model::Mode::sampled, true, model::Mode::sampled);
  target_.apply(reading(kSecond, 10, 4));
  target_.on(model::SampledBirth{42, 2 * kSecond, 0xc000, 0x99, 1});
  target_.mark_exited(5, 7);
  EXPECT_EQ(target_.stacks(), 1u);
  EXPECT_DOUBLE_EQ(target_.status().live_bytes, 700);
  // Books that it would see if it looked.
  target_.on(model::SampledBirth{42, 3 * kSecond, 0xd000, 0x99, 1});
  EXPECT_DOUBLE_EQ(target_.status().live_bytes, 700);
}

TEST_F(TargetTest, ExactModeKnowsNoLiveHeap) {
  target_.start(nullptr, 0, nullptr, model::Mode::exact, true, model::Mode::exact);
  target_.on(model::ExactStack{42, 7, false, {0x10}});
  model::ExactCount count;
  count.stack_hash = 7;
  count.objects = 3;
  count.slot_bytes = 48;
  target_.apply(std::vector{count});
  const model::TargetStatus status = target_.status();
  EXPECT_FALSE(status.has_live);
  EXPECT_DOUBLE_EQ(std::accumulate(status.alloc_bytes.begin(), status.alloc_bytes.end(), 0.0), 48);
  EXPECT_FALSE(target_.snapshot({})->has_inuse);
  EXPECT_FALSE(target_.reading_due(100 * kSecond));
}

TEST(SitesWithin, FewTargetsGetAllAndManyShare) {
  size_t used = 0;
  for (int target = 1; target <= 500; ++target) {
    const size_t sites = sites_within(20, used);
    if (target <= 100) {
      EXPECT_EQ(sites, 20u) << target;
    }
    EXPECT_GE(sites, 1u);
    used += sites;
  }
  EXPECT_LE(used, kMaxSitesOfAll + 500);
  EXPECT_EQ(sites_within(5, 0), 5u);
  EXPECT_EQ(sites_within(0, 0), 0u);
}

}  // namespace
}  // namespace goheapd
