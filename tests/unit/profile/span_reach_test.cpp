// What the books of source spans give to whom, of what no sample can stand for.
#include "tests/unit/profile/span_ledger_fixture.h"

namespace goheapd::profile {
namespace {

constexpr uint64_t kSecond = 1000 * kMillisecond;

class SpanReachTest : public SpanLedgerTest {
 protected:
  void pass(uint64_t ns) { now_ += ns; }
  // Samples are taken for 100 ms, in which 64-byte objects are allocated, one of them sampled.
  void slice(std::vector<uint64_t> stack, uint64_t objects, double times) {
    apply();
    ledger_.set_recording(true, now_);
    allocate(kClass64, objects);
    if (!stack.empty()) ledger_.on_opened(run(next_address_ += 8192, std::move(stack)), times);
    pass(100 * kMillisecond);
    ledger_.set_recording(false, now_);
    apply();
  }

  uint64_t next_address_ = 0xc000000000;
};

TEST_F(SpanReachTest, LaterSampleDoesNotTakeWhatNoSliceHasSeen) {
  apply();
  ledger_.set_recording(false, now_);
  pass(5 * kSecond);
  allocate(kClass64, 240'000);  // 15 MB, held
  slice({}, 0, 50);
  pass(5 * kSecond);
  collect();
  apply();
  const auto before = profile();
  EXPECT_EQ(before.at(1).alloc_bytes, 240'000 * 64);
  EXPECT_EQ(before.at(1).inuse_bytes, 240'000 * 64);
  // Minutes later somebody allocates a few.
  for (int i = 0; i < 10; ++i) {
    pass(5 * kSecond);
    allocate(kClass64, 50);
    slice({7}, 1, 50);
  }
  collect();
  apply();
  const auto after = profile();
  EXPECT_NEAR(static_cast<double>(after.at(1).alloc_bytes), 240'000 * 64, 0.02 * 240'000 * 64);
  EXPECT_NEAR(static_cast<double>(after.at(1).inuse_bytes), 240'000 * 64, 0.02 * 240'000 * 64);
  EXPECT_GE(after.at(7).alloc_bytes, 500 * 64);
  EXPECT_LE(after.at(7).alloc_bytes, 3000 * 64);
  EXPECT_LE(after.at(7).inuse_bytes, after.at(7).alloc_bytes);
}

TEST_F(SpanReachTest, ReadingDividesWhatWasOpenedBeforeIt) {
  apply();
  // A reading is under way while a cache is filled: its counters are of a moment in which half of it is there.
  allocate(kClass64, 200 * kPlanned);
  for (int i = 0; i < 200; ++i) ledger_.on_opened(run(next_address_ += 8192, {10}));
  SpanReading half = reading();
  for (int i = 0; i < 200; ++i) ledger_.on_opened(run(next_address_ += 8192, {20}));
  ledger_.apply(half);
  EXPECT_EQ(profile().at(10).alloc_objects, 200 * kPlanned);
  EXPECT_FALSE(profile().contains(20));
  pass(kSecond);
  allocate(kClass64, 200 * kPlanned);
  apply();
  pass(kSecond);
  apply();
  EXPECT_NEAR(static_cast<double>(profile().at(10).alloc_objects), 200 * kPlanned, 1);
  EXPECT_NEAR(static_cast<double>(profile().at(20).alloc_objects), 200 * kPlanned, 1);
}

TEST_F(SpanReachTest, RunThatIsCutBeforeItsReadingCountsAsItWasUsed) {
  apply();
  const auto cut = run(next_address_ += 8192, {10});
  const auto whole = run(next_address_ += 8192, {20});
  ledger_.on_opened(cut);
  ledger_.on_opened(whole);
  ledger_.on_cut(
      {.pid = 1, .time_ns = now_, .address = cut.address, .opened_ns = cut.time_ns, .used_objects = 32});
  allocate(kClass64, kPlanned + 32);
  apply();
  EXPECT_NEAR(static_cast<double>(profile().at(10).alloc_objects), 32, 1);
  EXPECT_NEAR(static_cast<double>(profile().at(20).alloc_objects), kPlanned, 1);
}

TEST_F(SpanReachTest, BurstThatEndsSamplingIsNotLost) {
  apply();
  pass(10 * kSecond);
  allocate(kClass64, 200 * kPlanned);
  for (int i = 0; i < 200; ++i) ledger_.on_opened(run(next_address_ += 8192, {10}));
  apply();
  ledger_.set_recording(false, now_);
  pass(20 * kMillisecond);
  allocate(kClass64, 300 * kPlanned);
  apply();
  pass(kSecond);
  apply();
  EXPECT_NEAR(static_cast<double>(profile().at(10).alloc_objects), 500 * kPlanned, 1);
}

// A program changes, and that ends sampling.
TEST_F(SpanReachTest, WhoHasStoppedGetsNothingOfALongGap) {
  apply();
  constexpr uint64_t kOwn = 100 * (kMean / 64);
  for (int i = 0; i < 100; ++i) {
    pass(10 * kMillisecond);
    ledger_.on_opened(run(next_address_ += 8192, {10}));
  }
  allocate(kClass64, kOwn);
  apply();
  ledger_.set_recording(false, now_);
  for (int i = 0; i < 10; ++i) {
    pass(10 * kSecond);
    allocate(kClass64, 1'000'000);
    apply();
  }
  EXPECT_GE(profile().at(10).alloc_objects, kOwn);
  EXPECT_LE(profile().at(10).alloc_objects, 1.5 * kOwn);
  EXPECT_EQ(profile().at(10).alloc_objects + profile().at(1).alloc_objects, kOwn + 10'000'000);
}

TEST_F(SpanReachTest, StackHoldsNoMoreThanItHasAllocated) {
  apply();
  ledger_.set_recording(false, now_);
  // Much garbage that slices see, and a cache that is filled between two of them.
  constexpr uint64_t kGarbage = 2100;  // between two slices and in one
  constexpr uint64_t kCache = 1'000'000;
  std::vector<model::TrackedObject> dead;
  for (int i = 0; i < 40; ++i) {
    pass(2 * kSecond);
    allocate(kClass64, kGarbage - 100 + (i == 20 ? kCache : 0));
    apply();
    ledger_.set_recording(true, now_);
    allocate(kClass64, 100);
    const auto opened = run(next_address_ += 8192, {7});
    ledger_.on_opened(opened, 21);
    dead.push_back(tracked(opened));
    pass(100 * kMillisecond);
    ledger_.set_recording(false, now_);
    apply();
  }
  dead.pop_back();  // the last one lives
  free(kClass64, 39 * kGarbage);
  collect();
  apply(dead);
  const auto seen = profile();
  EXPECT_LE(seen.at(7).inuse_objects, seen.at(7).alloc_objects);
  EXPECT_LE(seen.at(1).inuse_objects, seen.at(1).alloc_objects + 1);
  EXPECT_LE(seen.at(7).alloc_objects, 3 * 40 * kGarbage);
  EXPECT_GE(seen.at(7).alloc_objects, 40 * kGarbage);
  EXPECT_GE(seen.at(1).inuse_objects, 9 * kCache / 10)
      << "the one sample that is alive does not stand for the cache";
  EXPECT_NEAR(static_cast<double>(seen.at(1).alloc_objects + seen.at(7).alloc_objects),
              40 * kGarbage + kCache, 2);
  EXPECT_NEAR(static_cast<double>(seen.at(1).inuse_objects + seen.at(7).inuse_objects), kGarbage + kCache, 2);
}

}  // namespace
}  // namespace goheapd::profile
