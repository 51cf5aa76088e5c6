// Exact mode against the target's own runtime.MemStats.
#include <gtest/gtest.h>

#include <set>
#include <stdexcept>

#include "daemon/gobin/go_binary.h"
#include "tests/bpf/target_fixture.h"

namespace goheapd::testing {
namespace {

struct Workload {
  std::string name;
  int count;
};

struct Reading {
  uint64_t mallocs = 0;
  uint64_t total_alloc = 0;
  ExactTotals exact;
};

// The target's figures and ours, of one moment: nothing was allocated (by a thread that ends late, a timer of the
// runtime) between the target's reading before ours and the one after.
Reading read_both(GoProgram& program, probe::Collector& collector) {
  for (int attempt = 0; attempt < 100; ++attempt) {
    const auto first = program.ask_numbers("mallocs");
    const auto counts = collector.read_exact(program.pid());
    if (!counts) throw std::runtime_error(to_string(counts.error()));
    if (program.ask_numbers("mallocs") == first) return {first[0], first[1], totals(*counts)};
  }
  throw std::runtime_error("the target is never quiet");
}

class ExactCounts : public ::testing::TestWithParam<GoBuild> {};

// Every allocation is counted once: not twice when the stack grows or the goroutine is preempted, whatever the size.
TEST_P(ExactCounts, EqualTheRuntimesOwn) {
  GoProgram program(build_go_program("allocator", GetParam()));
  Received received;
  probe::Collector collector = make_collector(received);
  const auto attached = collector.attach(request_for(program, Watch::exact));
  ASSERT_TRUE(attached) << to_string(attached.error());
  ASSERT_TRUE(collector.set_recording(program.pid(), probe::ProbeGroups::all()));

  std::vector<Workload> workloads = {
      {"mixed", 2000}, {"untiny", 500}, {"grow", 500}, {"preempt", 2000}, {"deep", 50}};
  if (GetParam().cgo) workloads.push_back({"cgo", 2000});
  for (const Workload& workload : workloads) {
    SCOPED_TRACE(workload.name);
    const Reading before = read_both(program, collector);
    ASSERT_EQ(program.ask("work " + workload.name + " " + std::to_string(workload.count)), "done");
    const Reading after = read_both(program, collector);
    drain(collector);
    EXPECT_EQ(after.exact.objects - before.exact.objects, after.mallocs - before.mallocs);
    EXPECT_GT(after.mallocs - before.mallocs, static_cast<uint64_t>(workload.count));
    if (workload.name == "untiny") {
      EXPECT_EQ(after.exact.slot_bytes - before.exact.slot_bytes, after.total_alloc - before.total_alloc);
    }
    // Counted nevertheless, once for each stack that is counted as unreadable.
    EXPECT_LE(after.exact.without_stack, lost(*collector.counters(program.pid()), "stack_unreadable"));
  }

  // Every stack that counts refer to has arrived, and nothing was lost.
  const auto counts = collector.read_exact(program.pid());
  ASSERT_TRUE(counts);
  const auto counters = collector.counters(program.pid());
  ASSERT_TRUE(counters);
  const uint64_t unreadable = lost(*counters, "stack_unreadable");
  std::set<uint64_t> missing;
  for (const model::ExactCount& count : *counts)
    if (!received.stacks.contains(count.stack_hash)) missing.insert(count.stack_hash);
  if (unreadable != 0) missing.erase(0);
  EXPECT_TRUE(missing.empty()) << missing.size() << " of " << counts->size();
  // C code has no frame pointers: a walk may follow a wild one.
  const bool is_wild = GetParam().cgo && unreadable > 2;
  EXPECT_EQ(describe_losses(*counters),
            is_wild ? "stack_unreadable=" + std::to_string(unreadable) + " " : "");
  EXPECT_GE(counters->hits, totals(*counts).objects);
}

class ExactStacks : public ::testing::TestWithParam<GoBuild> {};

// A thread's own stack begins with what the frame pointer happened to be when the thread was made, or when it left its last
// goroutine: up to 1.25 a walk that goes on there sees frames of another thread, or memory that is gone.
TEST_P(ExactStacks, EndWhereTheThreadBegins) {
  GoProgram program(build_go_program("allocator", GetParam()));
  Received received;
  probe::Collector collector = make_collector(received);
  const auto request = request_for(program, Watch::exact);
  const auto attached = collector.attach(request);
  ASSERT_TRUE(attached) << to_string(attached.error());
  ASSERT_TRUE(collector.set_recording(program.pid(), probe::ProbeGroups::all()));
  ASSERT_EQ(program.ask("work threads 60"), "done");
  drain(collector);

  const auto binary = gobin::GoBinary::open("/proc/" + std::to_string(program.pid()) + "/exe");
  ASSERT_TRUE(binary);
  size_t ended = 0;
  for (const auto& [hash, stack] : received.stacks) {
    for (size_t i = 0; i < stack.stack.size(); ++i) {
      const auto function = (*binary)->function_at(stack.stack[i] - 1 - request.load_bias);
      if (!function || (function->name != "runtime.mstart" && function->name != "runtime.mcall")) continue;
      ++ended;
      EXPECT_EQ(i, stack.stack.size() - 1) << function->name;
      break;
    }
  }
  EXPECT_GT(ended, 0u);
  const auto counters = collector.counters(program.pid());
  ASSERT_TRUE(counters);
  EXPECT_EQ(describe_losses(*counters), "");
}

INSTANTIATE_TEST_SUITE_P(Matrix, ExactStacks, ::testing::ValuesIn(plain_builds()),
                         [](const auto& parameter) { return name_of(parameter.param); });

INSTANTIATE_TEST_SUITE_P(Matrix, ExactCounts, ::testing::ValuesIn(various_builds()),
                         [](const auto& parameter) { return name_of(parameter.param); });

}  // namespace
}  // namespace goheapd::testing
