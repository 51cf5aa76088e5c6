#include "daemon/probe/map_sizes.h"

#include <gtest/gtest.h>

#include "bpf/wire.h"

namespace goheapd::probe {
namespace {

uint64_t exact_bytes(const BpfSizes& sizes, uint64_t cpus) {
  return sizes.exact_entries * cpus * sizeof(wire::WireExactValue);
}

uint64_t statistics_bytes(const BpfSizes& sizes, uint64_t cpus) {
  return sizes.targets * cpus * sizeof(wire::WireStatistics);
}

TEST(MapSizes, AreWhatIsWantedOnSmallMachines) {
  for (const unsigned cpus : {1u, 2u, 16u}) {
    const BpfSizes sizes = fit_to_cpus({}, cpus);
    EXPECT_EQ(sizes.exact_entries, 128u << 10) << cpus;
    EXPECT_EQ(sizes.targets, 1024u) << cpus;
  }
}

TEST(MapSizes, ShrinkWithTheCpusThatWouldMultiplyThem) {
  const BpfSizes of_64 = fit_to_cpus({}, 64);
  EXPECT_EQ(of_64.exact_entries, 44938u);
  EXPECT_EQ(of_64.targets, 1024u);
  const BpfSizes of_256 = fit_to_cpus({}, 256);
  EXPECT_EQ(of_256.exact_entries, 12006u);
  EXPECT_EQ(of_256.targets, 1024u);
  const BpfSizes of_1024 = fit_to_cpus({}, 1024);
  EXPECT_EQ(of_1024.exact_entries, 3054u);
  EXPECT_EQ(of_1024.targets, 722u);
  for (const unsigned cpus : {2u, 64u, 256u, 1024u}) {
    const BpfSizes sizes = fit_to_cpus({}, cpus);
    EXPECT_LE(exact_bytes(sizes, cpus), kMostPerCpuMapBytes) << cpus;
    EXPECT_LE(statistics_bytes(sizes, cpus), kMostPerCpuMapBytes) << cpus;
    // No other map has copies.
    EXPECT_EQ(sizes.stacks, BpfSizes().stacks);
    EXPECT_EQ(sizes.open_runs, BpfSizes().open_runs);
    EXPECT_EQ(sizes.span_caches, BpfSizes().span_caches);
    EXPECT_EQ(sizes.ring_bytes, BpfSizes().ring_bytes);
  }
}

TEST(MapSizes, NeverFallToNothing) {
  const BpfSizes sizes = fit_to_cpus({}, 8192);
  EXPECT_EQ(sizes.exact_entries, kFewestExactEntries);
  EXPECT_EQ(sizes.targets, kFewestTargets);
}

TEST(MapSizes, AreNeverMoreThanWanted) {
  BpfSizes wanted;
  wanted.exact_entries = 24;
  wanted.targets = 3;
  for (const unsigned cpus : {0u, 1u, 1024u, 8192u}) {
    const BpfSizes sizes = fit_to_cpus(wanted, cpus);
    EXPECT_EQ(sizes.exact_entries, 24u) << cpus;
    EXPECT_EQ(sizes.targets, 3u) << cpus;
  }
}

}  // namespace
}  // namespace goheapd::probe
