// The allocator's counters of live Go programs of every toolchain, compared with runtime.ReadMemStats.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "daemon/runtime/heap_stats_reader.h"
#include "tests/unit/runtime/ledger_view.h"

namespace goheapd::runtime {
namespace {

// Columns of the ledger's "memstats", first line.
enum Column : size_t {
  kTotalAlloc = 1,
  kMallocs = 4,
  kFrees = 5,
  kHeapAlloc = 6,
  kStackInuse = 12,
  kColumns = 29
};

struct Books {
  std::vector<uint64_t> totals;
  std::map<uint64_t, model::ClassCounts> by_size;
  bool operator==(const Books& other) const {
    return totals == other.totals && std::equal(by_size.begin(), by_size.end(), other.by_size.begin(),
                                                other.by_size.end(), [](const auto& a, const auto& b) {
                                                  return a.first == b.first &&
                                                         a.second.allocs == b.second.allocs &&
                                                         a.second.frees == b.second.frees;
                                                });
  }
};

// What the program says. MemStats.BySize ends before the largest classes do.
Books own_books(test::LedgerProcess& ledger) {
  const auto lines = ledger.command("memstats");
  Books books;
  const auto& all = lines.at(0);
  if (all.size() != kColumns) throw std::runtime_error("memstats has another number of columns");
  books.totals = {all[kMallocs], all[kFrees], all[kTotalAlloc], all[kHeapAlloc], all[kStackInuse]};
  for (size_t i = 2; i < lines.size(); ++i) books.by_size[lines[i].at(0)] = {lines[i].at(1), lines[i].at(2)};
  return books;
}

// The same from our reading.
Books our_books(const model::HeapStatsReading& reading, const Books& shape) {
  model::ClassCounts all = reading.large;
  uint64_t alloc_bytes = reading.large_alloc_bytes;
  uint64_t free_bytes = reading.large_free_bytes;
  Books books;
  for (size_t c = 1; c < reading.small.size(); ++c) {
    const uint64_t size = gobin::kSizeClassBytes[c];
    all.allocs += reading.small[c].allocs;
    all.frees += reading.small[c].frees;
    alloc_bytes += reading.small[c].allocs * size;
    free_bytes += reading.small[c].frees * size;
    if (shape.by_size.contains(size)) books.by_size[size] = reading.small[c];
  }
  books.totals = {all.allocs + reading.tiny_allocs, all.frees + reading.tiny_allocs, alloc_bytes,
                  alloc_bytes - free_bytes, static_cast<uint64_t>(reading.in_stacks)};
  return books;
}

class LiveHeapStats : public testing::TestWithParam<int> {
 protected:
  static model::HeapStatsReading read(HeapStatsReader& reader) {
    auto reading = reader.read();
    if (!reading) throw std::runtime_error(to_string(reading.error()));
    return *reading;
  }
};

// We look first, then the program does; should the runtime allocate something between both (it starts a thread now and
// then), they differ once, but not five times.
TEST_P(LiveHeapStats, EqualToMemStatsWhenQuiet) {
  test::LedgerView program(GetParam(), test::ledger_variants().front(), 0, 10);
  HeapStatsReader reader(*program.view);
  for (const char* command : {"", "hold 0 3000", "gc", "drop 0 1500", "gc", "hold 10 400", "gc", "gc"}) {
    if (*command != '\0') program.ledger.command(command);
    bool equal = false;
    for (int tries = 0; tries < 5 && !equal; ++tries) {
      const auto reading = read(reader);
      EXPECT_TRUE(reading.consistent);
      const Books own = own_books(program.ledger);
      equal = our_books(reading, own) == own;
      if (!equal && tries == 4) {
        EXPECT_EQ(our_books(reading, own).totals, own.totals) << "after " << command;
      }
    }
    EXPECT_TRUE(equal) << "after " << command;
  }
}

// Two threads allocate and collect without pause. What we read lies between what the program says before and after,
// class by class; counters of a reading that says it is not consistent may lack what a few spans hold.
TEST_P(LiveHeapStats, BoundedByMemStatsUnderLoad) {
  test::LedgerView program(GetParam(), test::ledger_variants().front(), 0, 10);
  HeapStatsReader reader(*program.view);
  program.ledger.command("churn 3000");
  int consistent = 0;
  constexpr int kReadings = 40;
  for (int i = 0; i < kReadings; ++i) {
    const Books before = own_books(program.ledger);
    const auto reading = read(reader);
    const Books after = own_books(program.ledger);
    if (!reading.consistent) continue;
    ++consistent;
    const Books ours = our_books(reading, before);
    for (const size_t total : {0, 1, 2}) {
      EXPECT_LE(before.totals[total], ours.totals[total]) << total;
      EXPECT_LE(ours.totals[total], after.totals[total]) << total;
    }
    for (const auto& [size, counts] : ours.by_size) {
      EXPECT_LE(before.by_size.at(size).allocs, counts.allocs) << size;
      EXPECT_LE(counts.allocs, after.by_size.at(size).allocs) << size;
      EXPECT_LE(before.by_size.at(size).frees, counts.frees) << size;
      EXPECT_LE(counts.frees, after.by_size.at(size).frees) << size;
    }
  }
  program.ledger.command("calm");
  EXPECT_GE(consistent, kReadings / 4);
  RecordProperty("consistent", consistent);
}

TEST_P(LiveHeapStats, AnExitedProcessIsAnError) {
  test::LedgerView program(GetParam(), test::ledger_variants().front(), 0, 10);
  HeapStatsReader reader(*program.view);
  read(reader);
  program.ledger.kill();
  EXPECT_EQ(reader.read().error().errno_value, ESRCH);
}

INSTANTIATE_TEST_SUITE_P(Go, LiveHeapStats, testing::ValuesIn(test::go_minors()),
                         [](const auto& minor) { return "1_" + std::to_string(minor.param); });

}  // namespace
}  // namespace goheapd::runtime
