#include "daemon/probe/governor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "daemon/probe/collector.h"
#include "daemon/probe/program_time.h"

namespace goheapd::probe {
namespace {

constexpr uint64_t kMillisecond = 1'000'000;
constexpr uint64_t kTick = 50 * kMillisecond;

// A program on one CPU whose probes cost `exact_ns` per allocation at level exact and so much in all per second at the
// others.
struct Program {
  Governor governor;
  CostSample now{};
  double exact_ns = 2000;
  double sampled_share = 0.0001;
  std::vector<Move> moves{};
  uint64_t allocated = 1;

  // Runs for `seconds`, `busy` of the time, with so many allocations per second of its own work.
  void run(double seconds, double allocations_per_second, double busy = 1) {
    const auto ticks = static_cast<int>(std::lround(seconds * 1e9 / static_cast<double>(kTick)));
    for (int i = 0; i < ticks; ++i) {
      // Probes slow it down: it does less in the same time.
      const double cpu = busy * static_cast<double>(kTick);
      const double own_ns = 1e9 / allocations_per_second;
      const double probe_ns = governor.level() == Level::exact     ? exact_ns
                              : governor.level() == Level::sampled ? own_ns * sampled_share
                                                                   : 0;
      const double allocations = cpu / (own_ns + probe_ns);
      const double probes = allocations * probe_ns;
      now.time_ns += kTick;
      now.cpu_ns += static_cast<uint64_t>(cpu);
      now.probe_ns += static_cast<uint64_t>(probes);
      allocated += static_cast<uint64_t>(allocations);
      if (const auto move = governor.observe(now, [this] { return allocated; })) moves.push_back(*move);
    }
  }
};

Governor::Options options() {
  return {.budget = 0.01,
          .levels = {Level::gc, Level::buckets, Level::sampled, Level::exact},
          .start = Level::sampled,
          .exact_hit_ns = 2000};
}

TEST(Governor, SlowAllocatorIsCountedExactly) {
  Program program{Governor(options(), 0)};
  program.run(9, 1000);
  EXPECT_TRUE(program.moves.empty());
  program.run(5, 1000);  // 0.2 % of its time
  ASSERT_EQ(program.moves.size(), 1u);
  EXPECT_EQ(program.moves[0].to, Level::exact);
  EXPECT_NEAR(program.moves[0].predicted, 0.002, 0.0002);
  program.run(1000, 1000);
  EXPECT_EQ(program.moves.size(), 1u);
  EXPECT_NEAR(program.governor.overhead_ratio(), 0.002, 0.0002);
}

TEST(Governor, FastAllocatorStaysSampled) {
  Program program{Governor(options(), 0)};
  program.run(100, 1e6);
  EXPECT_TRUE(program.moves.empty());
  EXPECT_NEAR(program.governor.overhead_ratio(), 0.0001, 0.00001);
}

// Of a handful of hits one is timed and stands for 64: nothing can be said of a program that hardly runs before it has run
// for a while.
TEST(Governor, FewHitsOfAnIdleProgramAreNoBreach) {
  Governor governor(options(), 0);
  CostSample now{};
  std::vector<Move> moves;
  for (int tick = 1; tick <= 20 * 300; ++tick) {
    now.time_ns += kTick;
    now.cpu_ns += kTick / 500;                    // 0.2 % of a CPU
    if (tick % 400 == 0) now.probe_ns += 97'000;  // 5 microseconds a second, 0.24 % of its time
    if (const auto move = governor.observe(now, [] { return uint64_t{0}; })) moves.push_back(*move);
  }
  EXPECT_TRUE(moves.empty());
  EXPECT_NEAR(governor.overhead_ratio(), 0.0024, 0.001);
}

// The same share, and more, of a program that does little is a breach once it can be measured.
TEST(Governor, ABreachOfAProgramThatRunsLittleIsNoticed) {
  Governor governor(options(), 0);
  CostSample now{};
  std::vector<Move> moves;
  for (int tick = 1; tick <= 20 * 30 && moves.empty(); ++tick) {
    now.time_ns += kTick;
    now.cpu_ns += kTick / 50;         // 2 % of a CPU
    now.probe_ns += kTick / 50 / 20;  // 5 % of that
    if (const auto move = governor.observe(now, [] { return uint64_t{0}; })) moves.push_back(*move);
  }
  ASSERT_EQ(moves.size(), 1u);
  EXPECT_EQ(moves[0].to, Level::buckets);
  EXPECT_NEAR(moves[0].ratio, 0.05, 0.001);
}

TEST(Governor, NotUpWhereOnlyJustEnoughRoomWouldBe) {
  Program program{Governor(options(), 0)};
  program.run(100, 4000);  // 0.8 % of a budget of 1 %
  EXPECT_TRUE(program.moves.empty());
}

// A storm goes on while levels are left one by one: none may wait for its full second where the first tenths spend twice
// as much as that.
TEST(Governor, ALevelThatBeginsInAStormIsLeftSoon) {
  Program program{Governor(options(), 0)};
  program.sampled_share = 0.08;  // below ten times the budget
  program.run(2, 1e6);
  ASSERT_EQ(program.moves.size(), 1u);
  EXPECT_EQ(program.moves[0].to, Level::buckets);
  EXPECT_LT(program.now.probe_ns, 40 * kMillisecond);
}

TEST(Governor, LeavesWithinTwoSecondsOfABreach) {
  Program program{Governor(options(), 0)};
  program.run(20, 1000);
  ASSERT_EQ(program.governor.level(), Level::exact);
  program.run(2, 10'000);  // 2 %
  EXPECT_EQ(program.governor.level(), Level::sampled);
  ASSERT_EQ(program.moves.size(), 2u);
  EXPECT_GT(program.moves[1].ratio, 0.01);
  EXPECT_NE(program.moves[1].why.find("the budget is 1.00 %"), std::string::npos) << program.moves[1].why;
}

// A target at one level of those that it can be watched at, looked at as often as the daemon does, whose probes begin to take
// `share` of its CPU time at some moment after long quiet. How long after that it is moved down; 0 = never.
double seconds_to_move(std::vector<Level> levels, Level level, uint64_t look_ns, double share, double busy,
                       double quiet_share, int phase) {
  Governor governor({.budget = 0.01, .levels = std::move(levels), .start = level, .exact_hit_ns = 2000}, 0);
  CostSample now{};
  const uint64_t breach_ns = 70'000 * kMillisecond + static_cast<uint64_t>(phase) * look_ns / 4;
  while (now.time_ns < breach_ns + 60'000 * kMillisecond) {
    const uint64_t before = now.time_ns;
    now.time_ns += look_ns;
    const double loud =
        static_cast<double>(now.time_ns - std::clamp(breach_ns, before, now.time_ns)) * busy * share;
    const double quiet =
        static_cast<double>(std::clamp(breach_ns, before, now.time_ns) - before) * busy * quiet_share;
    now.cpu_ns += static_cast<uint64_t>(busy * static_cast<double>(look_ns));
    now.probe_ns += static_cast<uint64_t>(loud + quiet);
    // A rate that nobody knows is none at which a dearer level is tried.
    const auto move = governor.observe(now, [] { return uint64_t{0}; });
    if (move && move->to < level) return static_cast<double>(now.time_ns - breach_ns) * 1e-9;
    if (move) governor.failed(level, now.time_ns);
  }
  return 0;
}

struct WatchedAt {
  Level level;
  std::vector<Level> levels;
  uint64_t look_ns;  // as Target looks
};

const std::vector<Level> kWithSpans = {Level::none,   Level::gc,      Level::slices,
                                       Level::sparse, Level::sampled, Level::exact};
const std::vector<Level> kWithRuntime = {Level::buckets, Level::sampled, Level::exact};
const std::vector<WatchedAt> kProbedLevels = {
    {Level::exact, kWithSpans, 40 * kMillisecond},    {Level::exact, kWithRuntime, 40 * kMillisecond},
    {Level::sampled, kWithSpans, 100 * kMillisecond}, {Level::sampled, kWithRuntime, 500 * kMillisecond},
    {Level::sparse, kWithSpans, 100 * kMillisecond},
};

// Where to a program goes that has been counted for a while and then allocates so much for each second of its own work.
Level from_exact_in_a_storm(double allocations_per_second, double sampled_ns) {
  Governor governor({.budget = 0.01, .levels = kWithSpans, .start = Level::sampled, .exact_hit_ns = 9000}, 0);
  CostSample now{};
  double allocated = 1;
  const auto step = [&](double rate) {
    const double price = governor.level() == Level::exact ? 9000 : sampled_ns;
    const double made = static_cast<double>(kTick) / (1e9 / rate + price);
    now.time_ns += kTick;
    now.cpu_ns += kTick;
    now.probe_ns += static_cast<uint64_t>(made * price);
    allocated += made;
    return governor.observe(now, [&] { return static_cast<uint64_t>(allocated); });
  };
  while (governor.level() != Level::exact && now.time_ns < 60'000 * kMillisecond) step(150);
  EXPECT_EQ(governor.level(), Level::exact);
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(step(150));
  for (int i = 0; i < 20; ++i)
    if (const auto move = step(allocations_per_second)) return move->to;
  return Level::exact;
}

TEST(Governor, AStormGoesPastLevelsThatAreKnownToBeTooMuch) {
  EXPECT_EQ(from_exact_in_a_storm(20e6, 80), Level::slices);  // sampled it would be 60 %, sparse 29 %
  EXPECT_EQ(from_exact_in_a_storm(1e6, 80), Level::sparse);   // 7 % and 2 %
  EXPECT_EQ(from_exact_in_a_storm(1e6, 2), Level::sampled);
  EXPECT_EQ(from_exact_in_a_storm(2e4, 80), Level::sampled);
}

// Whatever level, however small the breach, and whatever was before: of all programs that use a third of a CPU, two seconds.
TEST(Governor, EveryLevelIsLeftWithinTwoSecondsOfABreach) {
  for (const WatchedAt& at : kProbedLevels) {
    for (const double share : {0.0105, 0.012, 0.02, 0.05, 0.09, 0.15, 0.4, 0.9}) {
      for (const double busy : {0.3, 1.0, 16.0}) {
        for (const double quiet_share : {0.0, 0.00001, 0.0001, 0.004, 0.0095}) {
          for (int phase = 0; phase < 4; ++phase) {
            const double seconds =
                seconds_to_move(at.levels, at.level, at.look_ns, share, busy, quiet_share, phase);
            EXPECT_GT(seconds, 0) << name_of(at.level) << " " << share << " " << busy << " " << quiet_share;
            EXPECT_LE(seconds, 2) << name_of(at.level) << " " << share << " " << busy << " " << quiet_share;
          }
        }
      }
    }
  }
}

// The hard kill does not wait for a second to be over: a tenth of one, and the next look.
TEST(Governor, EveryLevelIsLeftAtOnceAtTenTimesTheBudget) {
  for (const WatchedAt& at : kProbedLevels) {
    const double most =
        static_cast<double>(std::max(2 * at.look_ns, 100 * kMillisecond + 2 * at.look_ns)) * 1e-9;
    for (const double share : {0.25, 0.5, 0.9}) {
      for (int phase = 0; phase < 4; ++phase) {
        const double seconds = seconds_to_move(at.levels, at.level, at.look_ns, share, 1, 0.0001, phase);
        EXPECT_GT(seconds, 0) << name_of(at.level) << " " << share;
        EXPECT_LE(seconds, most) << name_of(at.level) << " " << share;
      }
    }
  }
}

// Down in seconds, up by one level in ten or more, each try after a breach later than the one before.
TEST(Governor, UpIsSlowAndOneLevelAtATime) {
  Governor governor({.budget = 0.01, .levels = kWithSpans, .start = Level::slices, .exact_hit_ns = 2000}, 0);
  CostSample now{};
  uint64_t allocated = 1;
  uint64_t came_ns = 0;
  std::vector<Level> levels;
  while (now.time_ns < 120'000 * kMillisecond) {
    now.time_ns += kTick;
    now.cpu_ns += kTick;
    now.probe_ns += kTick / 2000;
    allocated += 50;
    const auto move = governor.observe(now, [&] { return allocated; });
    if (!move) continue;
    EXPECT_GE(now.time_ns - came_ns, 10'000 * kMillisecond) << name_of(move->to);
    EXPECT_EQ(static_cast<int>(move->to), static_cast<int>(move->from) + 1);
    came_ns = now.time_ns;
    levels.push_back(move->to);
  }
  EXPECT_EQ(levels, (std::vector{Level::sparse, Level::sampled, Level::exact}));
}

TEST(Governor, ABurstOfMillisecondsIsNoBreach) {
  Program program{Governor(options(), 0)};
  program.run(20, 1000);
  program.run(0.05, 30'000);  // one tick at 6 %: 0.5 % of the second
  program.run(20, 1000);
  EXPECT_EQ(program.moves.size(), 1u);
}

TEST(Governor, TenTimesTheBudgetIsCutInATenthOfASecond) {
  Program program{Governor(options(), 0)};
  program.run(20, 1000);
  program.run(0.15, 1e6);
  EXPECT_EQ(program.governor.level(), Level::sampled);
}

// No ten seconds of a program that goes from idle to storms and back, for ever, cost more than 5 %.
TEST(Governor, StormsCostLittleHoweverOftenTheyCome) {
  Program program{Governor(options(), 0)};
  uint64_t probes_before = 0;
  for (int round = 0; round < 200; ++round) {
    program.run(7 + round % 9, 500);
    program.run(3, 20e6);
    EXPECT_LT(static_cast<double>(program.now.probe_ns - probes_before), 0.05 * 10e9) << round;
    probes_before = program.now.probe_ns;
  }
}

TEST(Governor, EachFailedTryDoublesTheWait) {
  Program program{Governor(options(), 0)};
  std::vector<double> tries;
  while (tries.size() < 5 && program.now.time_ns < 4'000'000'000'000) {
    program.run(1, 100);
    if (program.governor.level() == Level::exact) {
      tries.push_back(static_cast<double>(program.now.time_ns) * 1e-9);
      program.run(2, 1e6);
    }
  }
  ASSERT_EQ(tries.size(), 5u);
  for (size_t i = 2; i < tries.size(); ++i)
    EXPECT_GT(tries[i] - tries[i - 1], 1.5 * (tries[i - 1] - tries[i - 2]));
}

TEST(Governor, WhatHardlyRunsIsLeftAlone) {
  Program program{Governor(options(), 0)};
  program.sampled_share = 0.05;
  program.run(100, 1e6, 0.002);  // the probes take 0.1 ms per second
  EXPECT_GE(program.governor.level(), Level::sampled);
  EXPECT_NEAR(program.governor.overhead_ratio(), 0.05, 0.01);
}

TEST(Governor, TellsWhatItLimitsProbesTo) {
  Program program{Governor(options(), 0)};
  EXPECT_EQ(program.governor.limit(), 0.01);
  EXPECT_FALSE(program.governor.is_over());
  program.run(20, 1e6, 0.02);
  EXPECT_NEAR(program.governor.limit(), 0.04, 1e-9);
  program.run(100, 1e6, 0.1);
  EXPECT_NEAR(program.governor.limit(), 0.02, 1e-3);
  program.run(100, 1e6);
  EXPECT_EQ(program.governor.limit(), 0.01);
  program.governor.set_budget(0.03);
  EXPECT_EQ(program.governor.limit(), 0.03);  // at once
}

TEST(Governor, DearSamplingFallsToBuckets) {
  Program program{Governor(options(), 0)};
  program.sampled_share = 0.03;  // a program that set MemProfileRate to 1, say
  program.run(2, 1e6);
  EXPECT_EQ(program.governor.level(), Level::buckets);
  // It is known what sampling cost per allocation, so it is not tried again before that has changed.
  program.run(300, 1e6);
  EXPECT_EQ(program.moves.size(), 1u);
  program.sampled_share = 0.0001;
  program.run(300, 1e5);
  EXPECT_EQ(program.governor.level(), Level::sampled);
}

// What a level cost per allocation in a storm says what it will cost when the storm is over.
TEST(Governor, ComesBackWhenTheStormIsOver) {
  Program program{Governor(options(), 0)};
  program.sampled_share = 0.011;  // as long as it allocates like this
  program.run(2, 20e6);
  ASSERT_EQ(program.governor.level(), Level::buckets);
  program.sampled_share = 0.011 * 500 / 20e6;
  program.run(60, 500);
  EXPECT_EQ(program.governor.level(), Level::exact);
}

TEST(Governor, StormMovesDownAtOnceUntilNothingIsLeft) {
  Governor governor({.budget = 0.01, .levels = {Level::buckets, Level::sampled}, .start = Level::sampled}, 0);
  const auto move = governor.storm(5);
  ASSERT_TRUE(move);
  EXPECT_EQ(move->from, Level::sampled);
  EXPECT_EQ(move->to, Level::buckets);
  EXPECT_FALSE(governor.storm(6));
}

TEST(Governor, FailedMoveIsNotRepeatedSoon) {
  Program program{Governor(options(), 0)};
  program.run(20, 1000);
  ASSERT_EQ(program.governor.level(), Level::exact);
  program.governor.failed(Level::sampled, program.now.time_ns);
  EXPECT_EQ(program.governor.level(), Level::sampled);
  program.run(3000, 1000);
  EXPECT_EQ(program.moves.size(), 1u);
  program.run(1000, 1000);
  EXPECT_EQ(program.moves.size(), 2u);
}

TEST(Governor, CountersThatBeginAnewAreNoBreach) {
  Program program{Governor(options(), 0)};
  program.run(20, 1000);
  program.now.cpu_ns = 0;
  program.now.probe_ns = 0;
  program.run(20, 1000);
  EXPECT_EQ(program.moves.size(), 1u);
}

TEST(ProbeNs, TrapsByKindAndPrograms) {
  HitCost cost;
  cost.ns = {600, 500, 9000};
  TargetCounters counters;
  counters.hits = 100;
  counters.single_step_hits = 10;
  counters.program_ns = 7;
  ProgramTime program;
  EXPECT_EQ(probe_ns(counters, cost, program), 90 * 600 + 10 * 9000 + 7);
}

}  // namespace
}  // namespace goheapd::probe
