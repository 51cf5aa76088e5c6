// The in-use values of source spans stand on the collector's mark bits, and a comparison by place finds out when these say
// something else than the truth. The totals of a class do not: they are the runtime's own counters.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <stdexcept>
#include <vector>

#include "daemon/profile/span_ledger.h"
#include "daemon/runtime/liveness_reader.h"
#include "tests/unit/runtime/fake_runtime.h"

namespace goheapd {
namespace {

using runtime::FakeRuntime;

constexpr uint32_t kBefore = 20;  // sweepgen
constexpr uint64_t kRunsOfAPlace = 100;
constexpr size_t kSmall = 6;  // size classes of 64 and of 512 bytes
constexpr size_t kLarger = 26;

struct Place {
  uint64_t frame = 0;
  size_t size_class = 0;
  bool keeps = false;  // all that it allocates; else nothing
  double bytes() const {
    return static_cast<double>(kRunsOfAPlace * (gobin::kGoPageSize / object_bytes()) * object_bytes());
  }
  uint64_t object_bytes() const { return gobin::kSizeClassBytes[size_class]; }
};
const std::vector<Place> kPlaces = {
    {10, kSmall, true}, {11, kSmall, false}, {20, kLarger, true}, {21, kLarger, false}};

enum class Marks { right, inverted, all_alive, all_dead };

// By place: bytes in use.
using InUse = std::map<uint64_t, double>;

// As tests/e2e/test_span_holders.py compares.
std::vector<uint64_t> wrong_ones(const InUse& ours) {
  double total = 0;
  for (const Place& place : kPlaces) total += place.keeps ? place.bytes() : 0;
  std::vector<uint64_t> wrong;
  for (const Place& place : kPlaces) {
    const double held = ours.contains(place.frame) ? ours.at(place.frame) : 0;
    const double tolerance = std::max(0.15, 4 / std::sqrt(place.bytes() / 8192.0));
    const bool is_right =
        place.keeps ? std::abs(held - place.bytes()) <= tolerance * place.bytes() : held < 0.01 * total;
    if (!is_right) wrong.push_back(place.frame);
  }
  return wrong;
}

// A program that has allocated in all places by turns and collected once, as its memory shows it to us. `small`: what the
// marks of the small objects say.
class Program {
 public:
  explicit Program(int minor) : fake_(minor), layout_(fake_.layout()) {
    heap_ = fake_.allocate(kPlaces.size() * kRunsOfAPlace * gobin::kGoPageSize, gobin::kGoPageSize);
    layout_.arena_base += heap_ - fake_.span_start(0);
  }

  InUse in_use(Marks small) {
    const runtime::RuntimeView view = open();
    runtime::LivenessReader reader(view);
    fake_.set_cycles(kBefore / 2);
    EXPECT_TRUE(reader.check({}));
    ledger_.apply(reading({}));
    for (uint64_t turn = 0; turn < kRunsOfAPlace; ++turn)
      for (const Place& place : kPlaces) open_run(place, place.size_class == kSmall ? small : Marks::right);
    fake_.set_cycles(kBefore / 2 + 1);
    ledger_.on_cycle({1, now_ += 1'000'000'000'000, false});
    auto objects = ledger_.tracked();
    std::sort(objects.begin(), objects.end(),
              [](const auto& a, const auto& b) { return a.address < b.address; });
    auto liveness = reader.check(objects);
    if (!liveness) throw std::runtime_error(to_string(liveness.error()));
    EXPECT_EQ(liveness->judged, objects.size());
    ledger_.apply(reading(*liveness));
    profile::RawSnapshot snapshot;
    ledger_.fill(snapshot);
    InUse sums;
    for (const profile::RawSample& sample : snapshot.samples)
      if (!sample.stack->empty())
        sums[sample.stack->back()] += static_cast<double>(sample.published.inuse_bytes);
    return sums;
  }

 private:
  runtime::RuntimeView open() const {
    auto memory = process::ProcessMemory::open(::getpid());
    if (!memory) throw std::runtime_error(to_string(memory.error()));
    return {*std::move(memory), layout_, fake_.addresses()};
  }

  // A span of its own, swept since.
  void open_run(const Place& place, Marks marks) {
    const uint64_t objects = gobin::kGoPageSize / place.object_bytes();
    const uint64_t span = fake_.add_span(page_, 1, place.object_bytes());
    const uint64_t start = heap_ + page_++ * gobin::kGoPageSize;
    const uint64_t bits = fake_.allocate(gobin::kGoPageSize / 64);
    const auto set = [span](gobin::Field field, uint64_t value) {
      FakeRuntime::write_field(span, field, value);
    };
    set(layout_.mspan.start_addr, start);
    set(layout_.mspan.nelems, objects);
    set(layout_.mspan.alloc_bits, bits);
    set(layout_.mspan.gcmark_bits, bits);
    set(layout_.mspan.sweepgen, kBefore + 2);
    const bool is_marked = marks == Marks::right      ? place.keeps
                           : marks == Marks::inverted ? !place.keeps
                                                      : marks == Marks::all_alive;
    std::memset(reinterpret_cast<void*>(bits), is_marked ? 0xff : 0, objects / 8);

    model::SpanRunOpened run;
    run.time_ns = now_ += 1000;
    run.address = start;
    run.span_class = static_cast<uint32_t>(place.size_class << 1);
    run.object_bytes = place.object_bytes();
    run.planned_objects = static_cast<uint32_t>(objects);
    run.mean_distance = 1;
    run.sweepgen = kBefore;
    run.stack = {1, 2, place.frame};
    ledger_.on_opened(run);
    counters_.small[place.size_class].allocs += objects;
    if (!place.keeps) counters_.small[place.size_class].frees += objects;
  }

  profile::SpanReading reading(model::LivenessReading liveness) {
    profile::SpanReading reading;
    reading.liveness = std::move(liveness);
    if (reading.liveness.sweepgen == 0) reading.liveness.sweepgen = kBefore;
    reading.counters = counters_;
    reading.counters.begin_ns = reading.counters.end_ns = now_ += 1;
    reading.swept = true;
    return reading;
  }

  FakeRuntime fake_;
  gobin::RuntimeLayout layout_;
  uint64_t heap_ = 0;
  uint64_t page_ = 0;
  uint64_t now_ = 1'000'000;
  profile::SpanLedger ledger_;
  model::HeapStatsReading counters_;
};

class SpanLiveness : public testing::TestWithParam<int> {};

TEST_P(SpanLiveness, RightMarksMakeRightValues) {
  EXPECT_TRUE(wrong_ones(Program(GetParam()).in_use(Marks::right)).empty());
}

// And who else has objects of other sizes is still right.
TEST_P(SpanLiveness, WrongMarksOfAClassAreFound) {
  for (const Marks marks : {Marks::inverted, Marks::all_alive}) {
    EXPECT_EQ(wrong_ones(Program(GetParam()).in_use(marks)), (std::vector<uint64_t>{10, 11}))
        << static_cast<int>(marks);
  }
  EXPECT_EQ(wrong_ones(Program(GetParam()).in_use(Marks::all_dead)), std::vector<uint64_t>{10});
}

INSTANTIATE_TEST_SUITE_P(Go, SpanLiveness, testing::Values(19, 22, 24, 26, 27));

}  // namespace
}  // namespace goheapd
