#include "daemon/runtime/specials_reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

#include "tests/unit/runtime/fake_runtime.h"

namespace goheapd::runtime {
namespace {

constexpr uint64_t kBucket = 0x7000;

// Versions whose specials or arenas differ.
class SpecialsReaderTest : public testing::TestWithParam<int> {
 protected:
  uint64_t profile() const { return fake_.layout().special_kinds.profile; }
  uint64_t finalizer() const { return fake_.layout().special_kinds.finalizer; }
  model::LiveSampleReading read() {
    auto reading = reader_.read();
    EXPECT_TRUE(reading) << (reading ? "" : to_string(reading.error()));
    return reading ? *std::move(reading) : model::LiveSampleReading{};
  }
  static std::set<uint64_t> addresses(const model::LiveSampleReading& reading) {
    std::set<uint64_t> found;
    for (const auto& sample : reading.samples) found.insert(sample.address);
    EXPECT_EQ(found.size(), reading.samples.size());
    return found;
  }

  FakeRuntime fake_{GetParam()};
  RuntimeView view_ = fake_.view();
  SpecialsReader reader_{view_};
};

TEST_P(SpecialsReaderTest, EmptyHeap) {
  fake_.add_span(0, 1, 64);
  const auto reading = read();
  EXPECT_TRUE(reading.samples.empty());
  EXPECT_EQ(reading.unreadable_spans, 0u);
}

TEST_P(SpecialsReaderTest, ListsSampledObjects) {
  const uint64_t small = fake_.add_span(3, 1, 64);
  const uint64_t large = fake_.add_span(8191, 100, 800'000);  // the last page of the arena, and beyond
  fake_.add_special(small, 0, finalizer(), 1);
  fake_.add_special(small, 0, profile(), kBucket);
  fake_.add_special(small, 128, profile(), kBucket + 8);
  fake_.add_special(small, 8128, finalizer(), 1);
  fake_.add_special(large, 8, profile(), kBucket + 16);
  auto samples = read().samples;
  std::sort(samples.begin(), samples.end(),
            [](const auto& a, const auto& b) { return a.address < b.address; });
  ASSERT_EQ(samples.size(), 3u);
  EXPECT_EQ(samples[0].address, fake_.span_start(3));
  EXPECT_EQ(samples[0].bucket, kBucket);
  EXPECT_EQ(samples[0].size, 64u);
  EXPECT_EQ(samples[1].address, fake_.span_start(3) + 128);
  EXPECT_EQ(samples[2].address, fake_.span_start(8191) + 8);
  EXPECT_EQ(samples[2].size, 800'000u);
  EXPECT_EQ(samples[2].bucket, kBucket + 16);
}

TEST_P(SpecialsReaderTest, ManySpansWithLongLists) {
  size_t expected = 0;
  for (uint64_t page = 0; page < 1500; ++page) {
    const uint64_t span = fake_.add_span(page, 1, 16);
    for (uint64_t i = 0; i < (page % 500 == 0 ? 512u : 2u); ++i, ++expected) {
      fake_.add_special(span, i * 16, profile(), kBucket);
    }
  }
  EXPECT_EQ(addresses(read()).size(), expected);
}

TEST_P(SpecialsReaderTest, ASpanThatIsFreeOrAnotherHasNothing) {
  const uint64_t free_span = fake_.add_span(1, 1, 64);
  const uint64_t moved = fake_.add_span(2, 1, 64);
  const uint64_t good = fake_.add_span(3, 1, 64);
  for (const uint64_t span : {free_span, moved, good}) fake_.add_special(span, 0, profile(), kBucket);
  FakeRuntime::write_field(free_span, fake_.layout().mspan.state, 0);
  FakeRuntime::write_field(moved, fake_.layout().mspan.start_addr, fake_.span_start(77));
  fake_.set_page_special(4, true);  // a bit whose page has never had a span
  const auto reading = read();
  EXPECT_EQ(addresses(reading), (std::set<uint64_t>{fake_.span_start(3)}));
  EXPECT_EQ(reading.unreadable_spans, 1u);  // the page without a span: there is no struct to read
}

TEST_P(SpecialsReaderTest, ListsThatMakeNoSenseSpoilOnlyTheirSpan) {
  const auto& layout = fake_.layout();
  const auto span_with_two = [&](uint64_t page) {
    const uint64_t span = fake_.add_span(page, 1, 64);
    fake_.add_special(span, 64, profile(), kBucket);
    return fake_.add_special(span, 128, profile(), kBucket);
  };
  FakeRuntime::write_field(span_with_two(1), layout.special.offset, 0);          // not sorted
  FakeRuntime::write_field(span_with_two(2), layout.special.offset, 8192);       // outside of the span
  FakeRuntime::write_field(span_with_two(3), layout.special.kind, 0);            // no such kind
  FakeRuntime::write_field(span_with_two(4), layout.special_profile.bucket, 0);  // no bucket
  FakeRuntime::write_field(span_with_two(5), layout.special.next, 8);            // leads nowhere
  const uint64_t loop = span_with_two(6);
  FakeRuntime::write_field(loop, layout.special.next, loop);
  const uint64_t absurd = fake_.add_span(7, 1, 64);
  FakeRuntime::write_field(absurd, layout.mspan.npages, uint64_t{1} << 60);
  fake_.add_special(absurd, 0, profile(), kBucket);
  span_with_two(8);
  const auto reading = read();
  EXPECT_EQ(reading.unreadable_spans, 7u);
  EXPECT_EQ(addresses(reading), (std::set<uint64_t>{fake_.span_start(8) + 64, fake_.span_start(8) + 128}));
}

TEST_P(SpecialsReaderTest, DamagedTablesAreErrors) {
  const auto& layout = fake_.layout();
  const uint64_t span = fake_.add_span(1, 1, 64);
  fake_.add_special(span, 0, profile(), kBucket);
  const uint64_t all_arenas = fake_.addresses().mheap + layout.mheap.all_arenas.offset;
  const uint64_t indices = FakeRuntime::read(all_arenas);
  const uint64_t table = FakeRuntime::read(fake_.addresses().mheap + layout.mheap.arenas.offset);
  const auto expect_error_with = [&](uint64_t address, uint64_t value) {
    const uint64_t right = FakeRuntime::read(address);
    FakeRuntime::write(address, value);
    EXPECT_FALSE(reader_.read()) << value;
    FakeRuntime::write(address, right);
    EXPECT_TRUE(reader_.read());
  };
  expect_error_with(all_arenas + 8, UINT64_MAX);
  expect_error_with(all_arenas + 8, 65537);
  expect_error_with(all_arenas, 8);
  expect_error_with(indices, gobin::kArenaTableEntries);
  expect_error_with(indices, UINT64_MAX);
  expect_error_with(fake_.addresses().mheap + layout.mheap.arenas.offset, 8);
  expect_error_with(table + FakeRuntime::read(indices) * 8, 8);
}

// Objects come and go at the head of the lists; one special per span stays. Freed specials lead into a free list, whose
// elements still look like specials, but what stays is found, and nothing is made up. Each list changes less than once
// in a reading: what is freed and linked in again at the same place between two looks cannot be told.
TEST_P(SpecialsReaderTest, AMovingTargetIsReadOrCounted) {
  constexpr uint64_t kSpans = 400;
  const auto& layout = fake_.layout();
  std::vector<uint64_t> spans;
  std::vector<uint64_t> coming;
  for (uint64_t page = 0; page < kSpans; ++page) {
    spans.push_back(fake_.add_span(page, 1, 64));
    coming.push_back(fake_.add_special(spans.back(), 0, profile(), kBucket + page));
    fake_.add_special(spans.back(), 640, profile(), kBucket + page);
  }
  const auto word = [](uint64_t address) { return std::atomic_ref(*reinterpret_cast<uint64_t*>(address)); };
  std::atomic<bool> stop = false;
  std::thread runtime([&] {
    for (size_t i = 0; !stop; i = (i + 1) % kSpans) {
      const uint64_t head = spans[i] + layout.mspan.specials.offset;
      const uint64_t stays = word(coming[i] + layout.special.next.offset).load();
      word(head).store(stays);
      word(coming[i] + layout.special.next.offset).store(coming[(i + 1) % kSpans]);  // in the free list now
      std::this_thread::sleep_for(std::chrono::microseconds(100));
      word(coming[i] + layout.special.next.offset).store(stays);
      word(head).store(coming[i]);
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  });
  uint64_t found = 0;
  uint64_t unreadable = 0;
  uint64_t made_up = 0;
  constexpr uint64_t kReadings = 150;
  for (uint64_t i = 0; i < kReadings; ++i) {
    const auto reading = reader_.read();
    if (!reading) break;
    unreadable += reading->unreadable_spans;
    for (const auto& sample : reading->samples) {
      const uint64_t page = (sample.address - fake_.span_start(0)) / gobin::kGoPageSize;
      const uint64_t offset = (sample.address - fake_.span_start(0)) % gobin::kGoPageSize;
      found += offset == 640 ? 1 : 0;
      made_up += (offset != 640 && offset != 0) || sample.bucket != kBucket + page ? 1 : 0;
    }
  }
  stop = true;
  runtime.join();
  EXPECT_EQ(made_up, 0u);
  EXPECT_EQ(found + unreadable, kReadings * kSpans);
}

INSTANTIATE_TEST_SUITE_P(Go, SpecialsReaderTest, testing::Values(19, 21, 24, 27));

}  // namespace
}  // namespace goheapd::runtime
