// Sampled mode against the target's own runtime.MemProfile.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/bpf/target_fixture.h"

namespace goheapd::testing {
namespace {

class SampledEvents : public ::testing::TestWithParam<GoBuild> {};

TEST_P(SampledEvents, AreTheRuntimesOwnSamples) {
  // One sample per 4 KiB instead of 512 KiB, so that there is something to compare.
  GoProgram program(build_go_program("allocator", GetParam()), {"RATE=4096"});
  Received received;
  probe::Collector collector = make_collector(received);
  const auto attached = collector.attach(request_for(program, Watch::sampled));
  ASSERT_TRUE(attached) << to_string(attached.error());
  ASSERT_TRUE(collector.set_recording(program.pid(), true));

  const auto before = program.ask_numbers("sampled");
  drain(collector);
  std::map<uint64_t, model::SampledBirth> alive;  // by address
  const auto take_in = [&] {
    for (const auto& event : received.events) {
      if (const auto* birth = std::get_if<model::SampledBirth>(&event)) {
        EXPECT_TRUE(alive.emplace(birth->address, *birth).second) << "born twice without a death between";
      } else if (const auto* death = std::get_if<model::SampledDeath>(&event)) {
        const auto born = alive.find(death->address);
        if (born == alive.end()) continue;  // older than our attach
        EXPECT_EQ(born->second.bucket, death->bucket);
        EXPECT_GE(death->time_ns, born->second.time_ns);
        alive.erase(born);
      }
    }
  };
  take_in();
  received.events.clear();
  ASSERT_EQ(program.ask("work churn 20000"), "done");
  const auto after = program.ask_numbers("sampled");
  drain(collector);
  take_in();

  const auto births = received.all<model::SampledBirth>();
  const auto deaths = received.all<model::SampledDeath>();
  const auto allocations = received.all<model::SampledAllocation>();
  EXPECT_GT(births.size(), 1000u);
  EXPECT_EQ(births.size(), after[0] - before[0]);
  EXPECT_EQ(deaths.size(), after[1] - before[1]);
  uint64_t freed_bytes = 0;
  for (const auto& death : deaths) freed_bytes += death.size;
  EXPECT_EQ(freed_bytes, after[3] - before[3]);

  // Each birth is announced by an allocation with a stack, of the same object and goroutine.
  EXPECT_EQ(allocations.size(), births.size());
  uint64_t allocated_bytes = 0;
  std::map<uint64_t, uint64_t> goroutine_of;
  for (const auto& allocation : allocations) {
    allocated_bytes += allocation.size;
    EXPECT_GT(allocation.stack.size(), 2u);
    EXPECT_FALSE(allocation.truncated);
    goroutine_of[allocation.address] = allocation.goid;
  }
  EXPECT_EQ(allocated_bytes, after[2] - before[2]);
  // The workload runs on the main goroutine, whose id is 1. The runtime itself may allocate for none (a new thread).
  uint64_t on_main = 0;
  for (const auto& birth : births) {
    EXPECT_TRUE(goroutine_of.contains(birth.address));
    if (birth.goid == 1) ++on_main;
  }
  EXPECT_GT(on_main, births.size() * 9 / 10);

  // runtime.GC() three times: a flush at each end of cycle, and one after the forced sweep.
  size_t flushes = 0;
  size_t post_sweeps = 0;
  for (const auto& flush : received.all<model::GcProfileFlush>())
    ++(flush.post_sweep ? post_sweeps : flushes);
  EXPECT_GE(flushes, 3u);
  EXPECT_EQ(post_sweeps, 3u);
  const auto counters = collector.counters(program.pid());
  ASSERT_TRUE(counters);
  EXPECT_EQ(describe_losses(*counters), "");
}

std::vector<GoBuild> builds() {
  std::vector<GoBuild> all;
  for (const int minor : go_minors()) {
    all.push_back({.minor = minor});
    all.push_back({.minor = minor, .pie = true, .strip = true});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Matrix, SampledEvents, ::testing::ValuesIn(builds()),
                         [](const auto& parameter) { return name_of(parameter.param); });

}  // namespace
}  // namespace goheapd::testing
