// Exact mode against the target's own runtime.MemStats.
#include <gtest/gtest.h>

#include <set>

#include "tests/bpf/target_fixture.h"

namespace goheapd::testing {
namespace {

struct Workload {
  std::string name;
  int count;
};

class ExactCounts : public ::testing::TestWithParam<GoBuild> {};

// Every allocation is counted once: not twice when the stack grows or the goroutine is preempted, whatever the size.
TEST_P(ExactCounts, EqualTheRuntimesOwn) {
  GoProgram program(build_go_program("allocator", GetParam()));
  Received received;
  probe::Collector collector = make_collector(received);
  const auto attached = collector.attach(request_for(program, Watch::exact));
  ASSERT_TRUE(attached) << to_string(attached.error());
  ASSERT_TRUE(collector.set_recording(program.pid(), true));

  std::vector<Workload> workloads = {
      {"mixed", 2000}, {"untiny", 500}, {"grow", 500}, {"preempt", 2000}, {"deep", 50}};
  if (GetParam().cgo) workloads.push_back({"cgo", 2000});
  for (const Workload& workload : workloads) {
    SCOPED_TRACE(workload.name);
    const auto mallocs_before = program.ask_numbers("mallocs");
    const auto counts_before = collector.read_exact(program.pid());
    ASSERT_EQ(program.ask("work " + workload.name + " " + std::to_string(workload.count)), "done");
    const auto mallocs_after = program.ask_numbers("mallocs");
    const auto counts_after = collector.read_exact(program.pid());
    drain(collector);
    ASSERT_TRUE(counts_before && counts_after);
    const ExactTotals before = totals(*counts_before);
    const ExactTotals after = totals(*counts_after);
    EXPECT_EQ(after.objects - before.objects, mallocs_after[0] - mallocs_before[0]);
    EXPECT_GT(after.objects - before.objects, static_cast<uint64_t>(workload.count));
    if (workload.name == "untiny") {
      EXPECT_EQ(after.slot_bytes - before.slot_bytes, mallocs_after[1] - mallocs_before[1]);
    }
    EXPECT_EQ(after.without_stack, 0u);
  }

  // Every stack that counts refer to has arrived, and nothing was lost.
  const auto counts = collector.read_exact(program.pid());
  ASSERT_TRUE(counts);
  std::set<uint64_t> missing;
  for (const model::ExactCount& count : *counts)
    if (!received.stacks.contains(count.stack_hash)) missing.insert(count.stack_hash);
  EXPECT_TRUE(missing.empty()) << missing.size() << " of " << counts->size();
  const auto counters = collector.counters(program.pid());
  ASSERT_TRUE(counters);
  EXPECT_EQ(describe_losses(*counters), "");
  EXPECT_GE(counters->hits, totals(*counts).objects);
}

std::vector<GoBuild> builds() {
  std::vector<GoBuild> all;
  for (const int minor : go_minors()) {
    all.push_back({.minor = minor});
    all.push_back({.minor = minor, .pie = true, .strip = true});
    all.push_back({.minor = minor, .cgo = true});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Matrix, ExactCounts, ::testing::ValuesIn(builds()),
                         [](const auto& parameter) { return name_of(parameter.param); });

}  // namespace
}  // namespace goheapd::testing
