// Sampled mode against the target's own runtime.MemProfile.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/bpf/target_fixture.h"

namespace goheapd::testing {
namespace {

// What was sampled before the end of the last cycle is in the published profile, what came later is not: the runtime
// publishes with the world stopped.
uint64_t last_flush(const Received& received) {
  uint64_t time = 0;
  for (const auto& flush : received.all<model::GcProfileFlush>())
    if (!flush.post_sweep) time = flush.time_ns;
  return time;
}

class SampledEvents : public ::testing::TestWithParam<GoBuild> {};

TEST_P(SampledEvents, AreTheRuntimesOwnSamples) {
  // One sample per 4 KiB instead of 512 KiB, so that there is something to compare.
  GoProgram program(build_go_program("allocator", GetParam()), {"RATE=4096"});
  Received received;
  probe::Collector collector = make_collector(received);
  const auto attached = collector.attach(request_for(program, Watch::sampled));
  ASSERT_TRUE(attached) << to_string(attached.error());
  ASSERT_TRUE(collector.set_recording(program.pid(), probe::ProbeGroups::all()));

  const auto before = program.ask_numbers("sampled");
  drain(collector);
  const uint64_t begin = last_flush(received);
  ASSERT_EQ(program.ask("work churn 20000"), "done");
  const auto after = program.ask_numbers("sampled");
  drain(collector);
  const uint64_t end = last_flush(received);

  uint64_t births = 0;
  uint64_t on_main = 0;
  uint64_t deaths = 0;
  uint64_t freed_bytes = 0;
  std::map<uint64_t, model::SampledBirth> alive;  // by address
  for (const auto& event : received.events) {
    if (const auto* birth = std::get_if<model::SampledBirth>(&event)) {
      EXPECT_TRUE(alive.emplace(birth->address, *birth).second) << "born twice without a death between";
      if (birth->time_ns <= begin || birth->time_ns > end) continue;
      ++births;
      // The workload runs on the main goroutine, whose id is 1. The runtime itself may allocate for none (a new
      // thread).
      if (birth->goid == 1) ++on_main;
    } else if (const auto* death = std::get_if<model::SampledDeath>(&event)) {
      if (death->time_ns > begin) {
        ++deaths;
        freed_bytes += death->size;
      }
      const auto born = alive.find(death->address);
      if (born == alive.end()) continue;  // older than our attach
      EXPECT_EQ(born->second.bucket, death->bucket);
      EXPECT_GE(death->time_ns, born->second.time_ns);
      alive.erase(born);
    }
  }
  EXPECT_GT(births, 1000u);
  EXPECT_EQ(births, after[0] - before[0]);
  EXPECT_EQ(deaths, after[1] - before[1]);
  EXPECT_EQ(freed_bytes, after[3] - before[3]);
  EXPECT_GT(on_main, births * 9 / 10);

  // Each birth is announced by an allocation with a stack, of the same object.
  uint64_t allocations = 0;
  uint64_t allocated_bytes = 0;
  for (const auto& allocation : received.all<model::SampledAllocation>()) {
    EXPECT_GT(allocation.stack.size(), 2u);
    EXPECT_FALSE(allocation.truncated);
    if (allocation.time_ns <= begin || allocation.time_ns > end) continue;
    ++allocations;
    allocated_bytes += allocation.size;
  }
  EXPECT_EQ(allocations, births);
  EXPECT_EQ(allocated_bytes, after[2] - before[2]);

  // runtime.GC() six times: a flush at each end of cycle, and one after the forced sweep.
  size_t flushes = 0;
  size_t post_sweeps = 0;
  for (const auto& flush : received.all<model::GcProfileFlush>())
    ++(flush.post_sweep ? post_sweeps : flushes);
  EXPECT_GE(flushes, 6u);
  EXPECT_EQ(post_sweeps, 6u);
  const auto counters = collector.counters(program.pid());
  ASSERT_TRUE(counters);
  EXPECT_EQ(describe_losses(*counters), "");
}

INSTANTIATE_TEST_SUITE_P(Matrix, SampledEvents, ::testing::ValuesIn(various_builds()),
                         [](const auto& parameter) { return name_of(parameter.param); });

}  // namespace
}  // namespace goheapd::testing
