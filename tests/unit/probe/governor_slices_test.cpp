// The governor where it samples in slices, and below: what small programs, storms and constant collections come to.
#include <gtest/gtest.h>

#include <vector>

#include "daemon/probe/governor.h"

namespace goheapd::probe {
namespace {

constexpr uint64_t kMillisecond = 1'000'000;
constexpr uint64_t kTick = 50 * kMillisecond;

// A program of whose CPU time probes take `share` while they sample, and `others` whenever any are in it.
struct SlicedProgram {
  double share = 0;
  double others = 0;
  Governor governor{{.budget = 0.01,
                     .levels = {Level::gc, Level::slices, Level::sparse, Level::sampled},
                     .start = Level::sampled},
                    0};
  CostSample now{};
  std::vector<Move> moves{};
  uint64_t probed_ns = 0;
  double allocated = 0;

  // Two percent of a CPU is a small program.
  void run(double seconds, double busy = 0.02) {
    for (int i = 0; i < static_cast<int>(seconds * 20); ++i) {
      const bool probed = governor.level() > Level::slices || governor.slices().active();
      now.time_ns += kTick;
      now.cpu_ns += static_cast<uint64_t>(busy * kTick);
      now.probe_ns += probed ? static_cast<uint64_t>(share * busy * kTick) : 0;
      now.probe_ns += governor.level() > Level::none ? static_cast<uint64_t>(others * busy * kTick) : 0;
      probed_ns += probed ? kTick : 0;
      SliceSchedule& slices = governor.slices();
      slices.look(now);
      if (governor.level() == Level::slices && slices.due(now.time_ns)) {
        slices.active() ? slices.end(now, now.time_ns) : slices.begin(now, now.time_ns);
      }
      // Probes take a microsecond for each allocation.
      allocated += share * busy * static_cast<double>(kTick) / 1000;
      if (const auto move = governor.observe(now, [&] { return 1 + static_cast<uint64_t>(allocated); }))
        moves.push_back(*move);
    }
  }
};

TEST(Governor, UnfeltProbesOfASmallProgramAreNoBreach) {
  SlicedProgram program{.share = 0.035};
  program.run(600);
  EXPECT_TRUE(program.moves.empty()) << program.moves[0].why;
  EXPECT_NEAR(program.governor.overhead_ratio(), 0.035, 0.001);  // it is told as it is
  EXPECT_FALSE(program.governor.is_over());
  // The same share of a program that does more would be felt.
  program.run(10, 0.3);
  ASSERT_FALSE(program.moves.empty());
  EXPECT_NE(program.moves[0].why.find("the budget is 1.00 %"), std::string::npos) << program.moves[0].why;
}

TEST(Governor, ASmallProgramIsSampledInLongSlices) {
  SlicedProgram program{.share = 0.085};
  program.run(10);
  ASSERT_EQ(program.moves.size(), 2u);
  EXPECT_EQ(program.moves[1].to, Level::slices);
  EXPECT_NE(program.moves[0].why.find(
                "the budget is 1.00 %, or 4.00 % of so small a program (at most 0.20 % of one CPU)"),
            std::string::npos)
      << program.moves[0].why;
  program.probed_ns = 0;
  const CostSample before = program.now;
  program.run(600);
  EXPECT_EQ(program.moves.size(), 2u);
  const auto time = static_cast<double>(program.now.time_ns - before.time_ns);
  const auto cost = static_cast<double>(program.now.probe_ns - before.probe_ns);
  EXPECT_GT(static_cast<double>(program.probed_ns), 0.15 * time);
  EXPECT_LT(cost, 0.025 * static_cast<double>(program.now.cpu_ns - before.cpu_ns));
  EXPECT_LT(cost, 0.002 * time);
}

// After it has had to leave it for a while.
TEST(Governor, ASmallProgramComesBackToWhatIsAllowed) {
  SlicedProgram program{.share = 0.1};
  program.run(10);
  ASSERT_EQ(program.governor.level(), Level::slices);
  program.share = 0.015;
  program.run(200);
  EXPECT_EQ(program.governor.level(), Level::sampled);
}

// A storm that lasts is sampled in slices: within the budget over any ten seconds, and for as long as it lasts.
void storm_that_lasts(double storm_share, const std::vector<Level>& expected) {
  Governor governor({.budget = 0.01,
                     .levels = {Level::gc, Level::slices, Level::sparse, Level::sampled},
                     .start = Level::sampled},
                    0);
  CostSample now{};
  uint64_t slices = 0;
  std::vector<Level> levels;
  std::vector<uint64_t> probe_ns;
  const auto run = [&](double seconds, double share) {
    for (int i = 0; i < static_cast<int>(seconds * 20); ++i) {
      const bool probed = governor.level() > Level::slices || governor.slices().active();
      now.time_ns += kTick;
      now.cpu_ns += kTick;
      now.probe_ns += probed ? static_cast<uint64_t>(share * static_cast<double>(kTick)) : 0;
      probe_ns.push_back(now.probe_ns);
      governor.slices().look(now);
      if (governor.level() == Level::slices && governor.slices().due(now.time_ns)) {
        if (governor.slices().active()) {
          governor.slices().end(now, now.time_ns);
        } else {
          governor.slices().begin(now, now.time_ns);
          ++slices;
        }
      }
      // Allocations go with the probes' share, 1000 at 1 %.
      const auto allocated = [&] {
        return 1 + static_cast<uint64_t>(static_cast<double>(now.time_ns) * share / 10000);
      };
      if (const auto move = governor.observe(now, allocated)) levels.push_back(move->to);
    }
  };
  run(300, storm_share);
  ASSERT_EQ(levels, expected);
  EXPECT_GT(slices, 30u);
  for (size_t i = 300; i < probe_ns.size(); ++i)
    ASSERT_LT(static_cast<double>(probe_ns[i] - probe_ns[i - 200]), 0.01 * 200 * kTick) << i;
}

TEST(Governor, AStormThatLastsIsSampledInSlices) {
  storm_that_lasts(0.05, {Level::sparse, Level::slices});
  // Where traps alone must be far too much, it is not tried what they take without stack walks.
  storm_that_lasts(0.2, {Level::slices});
}

// A program that collects garbage hundreds of times a second pays too much even for being told of that.
TEST(Governor, TheLastResortIsToReadMemoryOnly) {
  SlicedProgram program{
      .others = 0.025,
      .governor = Governor({.budget = 0.01,
                            .levels = {Level::none, Level::gc, Level::slices, Level::sparse, Level::sampled},
                            .start = Level::gc},
                           0)};
  program.run(600, 1);
  ASSERT_FALSE(program.moves.empty());
  EXPECT_EQ(program.moves.front().to, Level::none);
  EXPECT_EQ(program.governor.level(), Level::none);
  EXPECT_EQ(program.governor.overhead_ratio(), 0);
  // It is tried again, later and later.
  EXPECT_LT(program.moves.size(), 14u);
  EXPECT_LT(static_cast<double>(program.now.probe_ns), 0.001 * static_cast<double>(program.now.cpu_ns));
  program.others = 0.001;
  program.moves.clear();
  program.run(1300, 1);
  ASSERT_FALSE(program.moves.empty());
  EXPECT_EQ(program.moves.front().to, Level::gc);
  EXPECT_GE(program.governor.level(), Level::slices);
}

// Also where slices have been afforded so far: that is seen between them.
TEST(Governor, SlicesAreLeftWhereOthersTakeTooMuch) {
  SlicedProgram program{
      .share = 0.25,
      .others = 0.003,
      .governor = Governor(
          {.budget = 0.01, .levels = {Level::none, Level::gc, Level::slices}, .start = Level::slices}, 0)};
  program.run(200, 1);
  ASSERT_EQ(program.governor.level(), Level::slices);
  program.others = 0.025;
  program.run(3.5, 1);  // a slice may have begun just then
  EXPECT_EQ(program.governor.level(), Level::none);
}

// Who looks in a rhythm may miss a whole slice: what that has taken is not what the probes between slices take.
TEST(Governor, SliceBetweenTwoLooksIsNoBreachOfOthers) {
  Governor governor(
      {.budget = 0.01, .levels = {Level::none, Level::gc, Level::slices}, .start = Level::slices}, 0);
  CostSample now{};
  unsigned slices = 0;
  for (int i = 0; i < 1200; ++i) {
    now.time_ns += 2 * kTick;
    now.cpu_ns += 2 * kTick / 20;
    governor.slices().look(now);
    if (governor.slices().due(now.time_ns)) {
      governor.slices().begin(now, now.time_ns);
      now.time_ns += 2 * kTick;
      now.cpu_ns += 2 * kTick / 20;
      now.probe_ns += 2 * kTick / 10;
      governor.slices().end(now, now.time_ns);
      ++slices;
      now.time_ns += 1;
    }
    const auto move = governor.observe(now, [] { return uint64_t{1}; });
    ASSERT_FALSE(move) << move->why << ", after " << slices;
  }
  EXPECT_GE(slices, 2u);
}

}  // namespace
}  // namespace goheapd::probe
