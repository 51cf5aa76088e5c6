// runtime.MemStats of live Go programs of every toolchain, read from outside and asked of the program itself.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "daemon/runtime/mem_stats_reader.h"
#include "tests/unit/runtime/ledger_view.h"

namespace goheapd::runtime {
namespace {

// As the ledger's "memstats" prints them.
std::vector<uint64_t> row_of(const model::MemStatsReading& m) {
  return {m.heap_alloc,
          m.total_alloc,
          m.sys,
          0 /* Lookups */,
          m.mallocs,
          m.frees,
          m.heap_alloc,
          m.heap_sys,
          m.heap_idle,
          m.heap_inuse,
          m.heap_released,
          m.mallocs - m.frees,
          m.stack_inuse,
          m.stack_sys,
          m.mspan_inuse,
          m.mspan_sys,
          m.mcache_inuse,
          m.mcache_sys,
          m.buck_hash_sys,
          m.gc_sys,
          m.other_sys,
          m.next_gc,
          m.last_gc_unix_ns,
          m.pause_total_ns,
          m.num_gc,
          m.num_forced_gc,
          m.goroutines,
          m.threads,
          static_cast<uint64_t>(m.max_procs)};
}

class LiveMemStats : public testing::TestWithParam<int> {
 protected:
  static model::MemStatsReading read(MemStatsReader& reader) {
    auto reading = reader.read();
    if (!reading) throw std::runtime_error(to_string(reading.error()));
    return *reading;
  }
};

// We look first, then the program does. Between both the runtime may start a thread or give pages back, then they
// differ; but not always.
TEST_P(LiveMemStats, EqualToReadMemStatsWhenQuiet) {
  test::LedgerView program(GetParam(), test::ledger_variants().front(), 1, 20000);
  MemStatsReader reader(*program.view);
  for (const char* command : {"memstats", "hold 0 3000", "gc", "drop 0 1500", "limit 64", "hold 10 400", "gc",
                              "limit 6", "limit 0", "park 100", "gc"}) {
    program.ledger.command(command);
    std::vector<uint64_t> ours;
    std::vector<uint64_t> theirs;
    bool consistent = false;
    for (int tries = 0; tries < 100 && (!consistent || ours != theirs); ++tries) {
      if (tries >= 10) std::this_thread::sleep_for(std::chrono::milliseconds(10));
      const auto reading = read(reader);
      consistent = reading.consistent;
      ours = row_of(reading);
      theirs = program.ledger.command("memstats").at(0);
    }
    EXPECT_TRUE(consistent) << "after " << command;
    EXPECT_EQ(ours, theirs) << "after " << command;
  }
}

// Two threads allocate and collect without pause: what only grows lies between what the program says before and after.
TEST_P(LiveMemStats, BoundedByReadMemStatsUnderLoad) {
  test::LedgerView program(GetParam(), test::ledger_variants().front(), 0, 10);
  MemStatsReader reader(*program.view);
  program.ledger.command("churn 3000");
  const std::vector<size_t> growing = {1 /* TotalAlloc */, 4 /* Mallocs */,       5 /* Frees */,
                                       22 /* LastGC */,    23 /* PauseTotalNs */, 24 /* NumGC */};
  for (int i = 0; i < 20; ++i) {
    const auto before = program.ledger.command("memstats").at(0);
    const auto reading = read(reader);
    const auto after = program.ledger.command("memstats").at(0);
    const auto ours = row_of(reading);
    // Of a reading that is not consistent, objects lack what a few spans hold.
    for (const size_t column : growing) {
      if (reading.consistent || column > 5) {
        EXPECT_LE(before[column], ours[column]) << column;
      }
      EXPECT_LE(ours[column], after[column]) << column;
    }
    // Heap sizes go up and down, but by how much is bounded by what a few cycles of a heap this small move.
    EXPECT_LT(ours[7], 1u << 30) << "HeapSys";
    EXPECT_GE(ours[2], ours[7]) << "Sys includes HeapSys";
    EXPECT_EQ(ours[7], ours[8] + ours[9]) << "HeapSys = HeapIdle + HeapInuse";
    EXPECT_EQ(reading.pauses_ns.size(), std::min(reading.num_gc, 256u));
  }
  program.ledger.command("calm");
}

TEST_P(LiveMemStats, SettingsAreRead) {
  test::LedgerView program(GetParam(), test::ledger_variants().front(), 0, 10);
  MemStatsReader reader(*program.view);
  EXPECT_EQ(read(reader).memory_limit, INT64_MAX);
  EXPECT_EQ(read(reader).gc_percent, 100);
  program.ledger.command("limit 64");
  EXPECT_EQ(read(reader).memory_limit, 64 << 20);
}

TEST_P(LiveMemStats, AnExitedProcessIsAnError) {
  test::LedgerView program(GetParam(), test::ledger_variants().front(), 0, 10);
  MemStatsReader reader(*program.view);
  read(reader);
  program.ledger.kill();
  EXPECT_EQ(reader.read().error().errno_value, ESRCH);
}

INSTANTIATE_TEST_SUITE_P(Go, LiveMemStats, testing::ValuesIn(test::go_minors()),
                         [](const auto& minor) { return "1_" + std::to_string(minor.param); });

}  // namespace
}  // namespace goheapd::runtime
