#include "daemon/runtime/record_gather.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "tests/unit/runtime/fake_runtime.h"

namespace goheapd::runtime {
namespace {

constexpr uint64_t kPage = 4096;
constexpr size_t kRecord = 24;

class RecordGatherTest : public testing::Test {
 protected:
  explicit RecordGatherTest(size_t pages = 2000) : pages_(pages * kPage) {
    for (uint64_t address = pages_.begin(); address < pages_.end(); address += 8)
      FakeRuntime::write(address, address);
  }
  // Reads the records and checks all of them: they come in order, are right, and are empty only where expected.
  void expect_records(const std::vector<uint64_t>& addresses, const std::vector<uint64_t>& missing = {}) {
    RecordGather gather(memory_, kRecord);
    size_t next = 0;
    const auto done = gather.read(addresses, [&](size_t index, ByteView record) {
      EXPECT_EQ(index, next++);
      const bool expected = std::find(missing.begin(), missing.end(), addresses[index]) == missing.end();
      EXPECT_EQ(record.size(), expected ? kRecord : 0) << index;
      for (uint64_t offset = 0; expected && offset < kRecord; offset += 8) {
        EXPECT_EQ(record.read<uint64_t>(offset).value(), addresses[index] + offset);
      }
      return !testing::Test::HasFailure();
    });
    EXPECT_TRUE(done);
    EXPECT_EQ(next, addresses.size());
  }
  std::vector<uint64_t> every(uint64_t distance) const {
    std::vector<uint64_t> addresses;
    for (uint64_t a = pages_.begin(); a + kRecord <= pages_.end(); a += distance) addresses.push_back(a);
    return addresses;
  }

  GuardedMemory pages_;
  process::ProcessMemory memory_ = *process::ProcessMemory::open(::getpid());
};

TEST_F(RecordGatherTest, NoRecords) { expect_records({}); }
TEST_F(RecordGatherTest, Adjacent) { expect_records(every(kRecord)); }
TEST_F(RecordGatherTest, Close) { expect_records(every(416)); }
TEST_F(RecordGatherTest, FarApart) { expect_records(every(kPage + 8)); }  // more ranges than one call takes
TEST_F(RecordGatherTest, AtTheLimitOfAGap) {
  for (const uint64_t gap : {2040, 2048, 2056}) expect_records(every(kRecord + gap));
}

TEST_F(RecordGatherTest, OverlappingAndEqualAddresses) {
  const uint64_t a = pages_.begin();
  expect_records({a, a, a + 8, a + 16, a + 16, a + 100 * 8, a + 101 * 8});
}

TEST_F(RecordGatherTest, AHoleHidesOnlyWhatLiesInIt) {
  const uint64_t hole = pages_.begin() + 7 * kPage;
  pages_.hide(hole);
  std::vector<uint64_t> missing;
  const auto addresses = every(64);
  for (const uint64_t address : addresses) {
    if (address + kRecord > hole && address < hole + kPage) missing.push_back(address);
  }
  expect_records(addresses, missing);
}

TEST_F(RecordGatherTest, HostileAddresses) {
  const std::vector<uint64_t> nowhere = {
      0, 8, pages_.end() - 8, pages_.end(), 1ull << 63, UINT64_MAX - 23, UINT64_MAX - 7, UINT64_MAX};
  std::vector<uint64_t> addresses = nowhere;
  addresses.insert(addresses.begin() + 2, pages_.begin());
  expect_records(addresses, nowhere);
}

TEST_F(RecordGatherTest, StopsWhenToldTo) {
  RecordGather gather(memory_, kRecord);
  const auto addresses = every(64);
  size_t visits = 0;
  EXPECT_TRUE(gather.read(addresses, [&](size_t, ByteView) { return ++visits < 10; }));
  EXPECT_EQ(visits, 10u);
}

}  // namespace
}  // namespace goheapd::runtime
