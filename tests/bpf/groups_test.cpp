// Groups of probes that come and go while a target stays attached, and what their hits are said to cost.
#include <gtest/gtest.h>

#include "tests/bpf/target_fixture.h"

namespace goheapd::testing {
namespace {

using probe::ProbeGroup;
using probe::ProbeGroups;

class Groups : public ::testing::Test {
 protected:
  GoProgram program_{build_go_program("allocator", {.minor = go_minors().back()}), {"RATE=1"}};
  Received received_;
  probe::Collector collector_ = make_collector(received_);

  size_t births() {
    drain(collector_);
    return received_.all<model::SampledBirth>().size();
  }
  uint64_t counted() { return totals(*collector_.read_exact(program_.pid())).objects; }
};

TEST_F(Groups, ExactComesAndGoesWhileSamplingGoesOn) {
  ASSERT_TRUE(collector_.attach(request_for(program_, Watch::sampled)));
  ASSERT_TRUE(collector_.set_recording(program_.pid(), {ProbeGroup::sampled}));
  ASSERT_EQ(program_.ask("work one 50"), "done");
  EXPECT_EQ(births(), 50u);

  for (int round = 0; round < 2; ++round) {
    SCOPED_TRACE(round);
    received_.events.clear();
    const auto added = collector_.add(request_for(program_, Watch::exact));
    ASSERT_TRUE(added) << to_string(added.error());
    EXPECT_FALSE(collector_.add(request_for(program_, Watch::exact)));
    ASSERT_EQ(program_.ask("work one 10"), "done");
    EXPECT_EQ(counted(), 0u);  // not told to record yet
    ASSERT_TRUE(collector_.set_recording(program_.pid(), ProbeGroups::all()));
    ASSERT_EQ(program_.ask("work one 70"), "done");
    EXPECT_EQ(counted(), 70u);
    ASSERT_TRUE(collector_.set_recording(program_.pid(), {ProbeGroup::sampled}));
    ASSERT_EQ(program_.ask("work one 5"), "done");
    EXPECT_EQ(counted(), 70u);
    collector_.remove(program_.pid(), ProbeGroup::exact);
    ASSERT_EQ(program_.ask("work one 5"), "done");
    EXPECT_EQ(counted(), 0u);
    EXPECT_EQ(births(), 90u);
  }
  EXPECT_EQ(describe_losses(*collector_.counters(program_.pid())), "");
}

TEST_F(Groups, AddNeedsATarget) { EXPECT_FALSE(collector_.add(request_for(program_, Watch::exact))); }

TEST_F(Groups, CollectionsAreSeenWithoutTheSampler) {
  ASSERT_TRUE(collector_.attach(request_for(program_, Watch::sampled)));
  ASSERT_TRUE(collector_.set_recording(program_.pid(), {ProbeGroup::gc}));
  ASSERT_EQ(program_.ask("work one 20"), "done");
  collector_.remove(program_.pid(), ProbeGroup::sampled);
  program_.ask("sampled");  // collects three times
  EXPECT_EQ(births(), 0u);
  EXPECT_GE(received_.all<model::GcProfileFlush>().size(), 3u);
}

TEST_F(Groups, StormStopsRecordingAtOnce) {
  auto request = request_for(program_, Watch::exact);
  request.storm_ns = 60'000'000'000;  // more than kStormHits in a minute
  ASSERT_TRUE(collector_.attach(request));
  ASSERT_TRUE(collector_.set_recording(program_.pid(), ProbeGroups::all()));
  ASSERT_EQ(program_.ask("work one 500"), "done");
  EXPECT_EQ(counted(), 500u);
  ASSERT_EQ(program_.ask("work one 100000"), "done");
  drain(collector_);
  const auto storms = received_.all<model::HitStorm>();
  ASSERT_FALSE(storms.empty());
  EXPECT_EQ(storms[0].pid, program_.pid());
  // A CPU knows the duration of so many hits when it has seen them twice.
  EXPECT_LT(counted(), 100'000u);
  ASSERT_TRUE(collector_.set_recording(program_.pid(), ProbeGroups::all()));
  const uint64_t before = counted();
  ASSERT_EQ(program_.ask("work one 10"), "done");
  EXPECT_EQ(counted(), before + 10);
}

TEST_F(Groups, AStormThatFindsNoRoomInTheRingIsFoundOut) {
  Received received;
  probe::CollectorOptions options;
  options.sizes.ring_bytes = 4096;
  probe::Collector collector = make_collector(received, options);
  ASSERT_TRUE(collector.attach(request_for(program_, Watch::sampled)));
  ASSERT_TRUE(collector.set_recording(program_.pid(), ProbeGroups::all()));
  ASSERT_EQ(program_.ask("work one 100000"), "done");
  EXPECT_TRUE(collector.records_as_told(program_.pid())) << "there was no limit";
  ASSERT_TRUE(collector.set_storm_limit(program_.pid(), 60'000'000'000));
  ASSERT_EQ(program_.ask("work one 100000"), "done");
  EXPECT_FALSE(collector.records_as_told(program_.pid()));
  drain(collector);
  ASSERT_TRUE(received.all<model::HitStorm>().empty()) << "there was room for it";
  EXPECT_GT(lost(*collector.counters(program_.pid()), "ring_full"), 0u);
  ASSERT_TRUE(collector.set_recording(program_.pid(), ProbeGroups::all()));
  EXPECT_TRUE(collector.records_as_told(program_.pid()));
}

// A program that is as fast as the daemon must not keep it.
TEST_F(Groups, APollEndsThoughNewEventsComeInForEachOneTakenIn) {
  size_t taken = 0;
  auto collector = probe::Collector::create({}, {.event =
                                                     [&](model::Event&&) {
                                                       if (++taken < 500) program_.ask("work one 2");
                                                     },
                                                 .stack = [](model::ExactStack&&) {}});
  ASSERT_TRUE(collector) << to_string(collector.error());
  ASSERT_TRUE(collector->attach(request_for(program_, Watch::sampled)));
  ASSERT_TRUE(collector->set_recording(program_.pid(), {ProbeGroup::sampled}));
  ASSERT_EQ(program_.ask("work one 50"), "done");
  const size_t first = collector->poll(std::chrono::milliseconds(0));
  EXPECT_GE(first, 50u);
  EXPECT_LT(first, 200u);  // each object may make two events
  EXPECT_GE(collector->poll(std::chrono::milliseconds(0)), first) << "the rest is not lost";
}

TEST_F(Groups, NoStormWithoutALimit) {
  ASSERT_TRUE(collector_.attach(request_for(program_, Watch::exact)));
  ASSERT_TRUE(collector_.set_recording(program_.pid(), ProbeGroups::all()));
  ASSERT_EQ(program_.ask("work one 20000"), "done");
  EXPECT_EQ(counted(), 20000u);
  EXPECT_TRUE(received_.all<model::HitStorm>().empty());
  // One run in 64 is timed. A run takes more than 50 ns and, cut off at 20 us, no more than that.
  const auto counters = collector_.counters(program_.pid());
  EXPECT_GT(counters->program_ns, 20000u * 50);
  EXPECT_LT(counters->program_ns, counters->hits * 20000);
  EXPECT_EQ(counters->single_step_hits, 0u);
}

TEST_F(Groups, SingleSteppedHitsAreCounted) {
  auto request = request_for(program_, Watch::exact);
  for (gobin::ProbePoint& point : request.points) {
    // The entry is the last resort of each function.
    ASSERT_EQ(point.candidates.back().cost, gobin::HitCost::single_step) << point.function;
    point.candidates = {point.candidates.back()};
  }
  ASSERT_TRUE(collector_.attach(request));
  ASSERT_EQ(program_.ask("work one 300"), "done");
  const auto counters = collector_.counters(program_.pid());
  EXPECT_GE(counters->single_step_hits, 300u);
  EXPECT_EQ(counters->single_step_hits, counters->hits);
}

}  // namespace
}  // namespace goheapd::testing
