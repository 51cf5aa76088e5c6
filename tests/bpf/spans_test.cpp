// Runs of span classes against the target's own MemStats.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "tests/bpf/target_fixture.h"

namespace goheapd::testing {
namespace {

constexpr uint64_t kEveryRun = 1;
// What runs are held against is usually right to the byte. But the runtime may start a thread after the program has read
// its statistics: then a few runs, of the thread's descriptors, are counted as if they were full, and what is taken from
// them later belongs to no run of the next window.
constexpr uint64_t kFewRuns = 8;
constexpr double kTheirBytes = kFewRuns * 8192;

// A run's name: its first object and when it was opened.
using RunName = std::pair<uint64_t, uint64_t>;

struct Runs {
  double bytes = 0;     // estimate
  double variance = 0;  // of it
  uint64_t objects = 0;
  size_t opened = 0;
  size_t cut = 0;
  size_t cut_unknown = 0;  // cuts of runs that were not announced
};

// What the sampled runs stand for, by the rules of daemon/model/event.h.
Runs sum_of(const Received& received) {
  Runs sum;
  std::map<RunName, uint32_t> used;
  for (const auto& cut : received.all<model::SpanRunCut>()) {
    EXPECT_TRUE(used.emplace(RunName(cut.address, cut.opened_ns), cut.used_objects).second) << "cut twice";
  }
  sum.cut = used.size();
  for (const auto& run : received.all<model::SpanRunOpened>()) {
    const auto cut = used.find({run.address, run.time_ns});
    const uint32_t objects = cut == used.end() ? run.planned_objects : cut->second;
    EXPECT_GE(objects, 1u) << "the object that opened the run";
    EXPECT_LE(objects, run.planned_objects);
    if (cut != used.end()) used.erase(cut);
    const double planned = static_cast<double>(run.planned_objects * run.object_bytes);
    const double probability = 1 - std::exp(-planned / static_cast<double>(run.mean_distance));
    const double bytes = static_cast<double>(objects * run.object_bytes);
    sum.bytes += bytes / probability;
    sum.variance += bytes * bytes * (1 - probability) / (probability * probability);
    sum.objects += objects;
    ++sum.opened;
  }
  sum.cut_unknown = used.size();
  return sum;
}

class SpanRuns : public ::testing::TestWithParam<GoBuild> {
 protected:
  // A program that is being watched; ReadMemStats has just put all spans of all caches back.
  void start(uint64_t mean_distance, const probe::CollectorOptions& options = {}) {
    program_.emplace(build_go_program("allocator", GetParam()), std::vector<std::string>{"RATE=0"});
    collector_.emplace(make_collector(received_, options));
    probe::AttachRequest request = request_for(*program_, Watch::spans);
    request.mean_distance = mean_distance;
    const auto attached = collector_->attach(request);
    ASSERT_TRUE(attached) << to_string(attached.error());
    ASSERT_TRUE(collector_->set_recording(program_->pid(), probe::ProbeGroups::all()));
    before_ = program_->ask_numbers("mallocs");
    drain(*collector_);
    received_.events.clear();
  }

  // What the program and we have counted since start() or the last call.
  std::pair<std::vector<uint64_t>, Runs> work(const std::string& command) {
    EXPECT_EQ(program_->ask(command), "done");
    const auto after = program_->ask_numbers("mallocs");
    drain(*collector_);
    const Runs runs = sum_of(received_);
    received_.events.clear();
    std::vector<uint64_t> truth = {after[0] - before_[0], after[1] - before_[1]};
    before_ = after;
    return {truth, runs};
  }

  Received received_;
  std::optional<GoProgram> program_;
  std::optional<probe::Collector> collector_;
  std::vector<uint64_t> before_;
};

TEST_P(SpanRuns, AccountForEveryByte) {
  start(kEveryRun);
  if (HasFatalFailure()) return;
  for (const char* command : {"work mixed 3000", "work churn 5000", "work deep 100", "work grow 3000",
                              "work preempt 2000", "work untiny 3000"}) {
    SCOPED_TRACE(command);
    const auto [truth, runs] = work(command);
    EXPECT_GT(static_cast<double>(truth[1]), 5 * kTheirBytes);
    EXPECT_NEAR(runs.bytes, static_cast<double>(truth[1]), kTheirBytes);
    EXPECT_GT(runs.opened, 10u);
    EXPECT_GT(runs.cut, 0u);
    EXPECT_LE(runs.cut_unknown, kFewRuns);
  }
  const auto counters = collector_->counters(program_->pid());
  ASSERT_TRUE(counters);
  EXPECT_EQ(describe_losses(*counters), "");
}

// What does not depend on how the program was linked.
class SpanRunsOfVersion : public SpanRuns {};

TEST_P(SpanRunsOfVersion, SampledStandForAll) {
  start(65536);
  if (HasFatalFailure()) return;
  double bytes = 0;
  double variance = 0;
  uint64_t truth = 0;
  size_t opened = 0;
  for (const uint64_t mean : {65536, 16384, 200000}) {
    ASSERT_TRUE(collector_->set_mean_distance(program_->pid(), mean));
    for (const char* command : {"work mixed 10000", "work untiny 3000"}) {
      const auto [counted, runs] = work(command);
      bytes += runs.bytes;
      variance += runs.variance;
      truth += counted[1];
      opened += runs.opened;
    }
  }
  EXPECT_GT(opened, 1000u);
  EXPECT_LT(std::sqrt(variance), 0.05 * static_cast<double>(truth));
  // The kernel's random numbers have no seed of ours: six standard errors are one failure in 500 million runs.
  EXPECT_NEAR(bytes, static_cast<double>(truth), 6 * std::sqrt(variance));
}

TEST_P(SpanRunsOfVersion, OpenWithTheObjectThatIsThere) {
  start(kEveryRun);
  if (HasFatalFailure()) return;
  ASSERT_EQ(program_->ask("work fragments 4000"), "done");
  drain(*collector_);
  // The class of objects of 728 bytes with pointers, since the forced GC that made the holes.
  const auto runs = received_.all<model::SpanRunOpened>();
  uint32_t sweepgen = 0;
  for (const auto& run : runs) sweepgen = std::max(sweepgen, run.sweepgen);
  size_t checked = 0;
  size_t fragmented = 0;
  for (const auto& run : runs) {
    EXPECT_EQ(run.sweepgen % 2, 0u);
    EXPECT_GT(run.stack.size(), 2u);
    EXPECT_FALSE(run.truncated);
    if (run.object_bytes != 768 || (run.span_class & 1) != 0 || run.sweepgen != sweepgen) continue;
    EXPECT_EQ(program_->ask_numbers("seen " + std::to_string(run.address))[0], 1u) << run.address;
    EXPECT_EQ(run.goid, 1u);
    ++checked;
    if (run.planned_objects < 8192 / 768) ++fragmented;
  }
  EXPECT_GT(checked, 200u);
  EXPECT_GT(fragmented, 100u) << "no holes were filled";
}

// In slices runs are opened that a collection cuts when the probes which saw that are out.
TEST_P(SpanRunsOfVersion, AreCutAfterTheProbesOfTheirOpeningHaveGone) {
  start(kEveryRun);
  if (HasFatalFailure()) return;
  ASSERT_EQ(program_->ask("work mixed 3000"), "done");
  ASSERT_TRUE(collector_->set_recording(program_->pid(), {probe::ProbeGroup::gc}));
  collector_->remove(program_->pid(), probe::ProbeGroup::spans);
  const auto after = program_->ask_numbers("mallocs");  // puts all spans of all caches back
  drain(*collector_);
  const Runs runs = sum_of(received_);
  const auto truth = static_cast<double>(after[1] - before_[1]);
  EXPECT_GT(runs.cut, 20u);
  EXPECT_LE(runs.cut_unknown, kFewRuns);
  EXPECT_NEAR(runs.bytes, truth, kTheirBytes);
}

TEST_P(SpanRunsOfVersion, AreForgottenWhenTheProbesGo) {
  // Room for the caches and open runs of one program: a second attach finds it only if the first left nothing.
  GoProgram program(build_go_program("allocator", GetParam()), {"RATE=0"});
  probe::CollectorOptions options;
  options.sizes.span_caches = 64;
  options.sizes.open_runs = 256;
  probe::Collector collector = make_collector(received_, options);
  probe::AttachRequest request = request_for(program, Watch::spans);
  request.mean_distance = kEveryRun;
  for (int round = 0; round < 6; ++round) {
    ASSERT_TRUE(collector.attach(request));
    ASSERT_TRUE(collector.set_recording(program.pid(), probe::ProbeGroups::all()));
    ASSERT_EQ(program.ask("work mixed 500"), "done");
    const auto counters = collector.counters(program.pid());
    ASSERT_TRUE(counters);
    EXPECT_EQ(lost(*counters, "span_state_full"), 0u) << round;
    collector.detach(program.pid());
  }
}

// A run that has no room is told all the same. That it was cut is not: it counts as if it were filled.
TEST_P(SpanRunsOfVersion, AreToldWhereNoRoomIsLeftForTheirEnds) {
  probe::CollectorOptions options;
  options.sizes.span_caches = 1;
  options.sizes.open_runs = 4;
  start(kEveryRun, options);
  if (HasFatalFailure()) return;
  const auto [truth, runs] = work("work mixed 3000");
  EXPECT_GT(runs.bytes, static_cast<double>(truth[1]) - kTheirBytes);
  const auto counters = collector_->counters(program_->pid());
  ASSERT_TRUE(counters);
  const uint64_t without_room = lost(*counters, "span_state_full");
  EXPECT_GT(without_room, 0u);
  EXPECT_GE(runs.opened, without_room);
  EXPECT_EQ(describe_losses(*counters), "span_state_full=" + std::to_string(without_room) + " ");
}

INSTANTIATE_TEST_SUITE_P(Matrix, SpanRuns, ::testing::ValuesIn(various_builds()),
                         [](const auto& parameter) { return name_of(parameter.param); });

INSTANTIATE_TEST_SUITE_P(Matrix, SpanRunsOfVersion, ::testing::ValuesIn(plain_builds()),
                         [](const auto& parameter) { return name_of(parameter.param); });

}  // namespace
}  // namespace goheapd::testing
