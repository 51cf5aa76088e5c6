// Random runs, sampled as the probes do: what the books say is right in expectation.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "tests/unit/profile/span_ledger_fixture.h"

namespace goheapd::profile {
namespace {

using SpanSampling = SpanLedgerTest;

// Where samples are taken for part of the time only, each stands for the time without, too.
TEST_F(SpanSampling, SamplesOfSlicesStandForTheTimeBetweenThem) {
  apply();
  ledger_.on_opened(run(0x1000, {10}));
  const auto slice = run(0x2000, {11});
  ledger_.on_opened(slice, 9);
  allocate(kClass64, 10'000);
  collect();
  free(kClass64, 5000);
  apply();
  auto values = profile();
  EXPECT_EQ(values[10].alloc_objects, 1000);
  EXPECT_EQ(values[11].alloc_objects, 9000);
  EXPECT_EQ(values[10].inuse_objects, 500);
  EXPECT_EQ(values[11].inuse_objects, 4500);
  // Half of it was taken from its owner.
  ledger_.on_cut({1, now_, slice.address, slice.time_ns, kPlanned / 2});
  allocate(kClass64, 1000);
  apply();
  EXPECT_EQ(profile()[10].alloc_objects, 2000);
}

// One stack keeps what it allocates for a while, another holds a little for ever; one cycle in ten falls into a slice.
TEST_F(SpanSampling, WhoHoldsWhatIsAMeanOfManySlices) {
  apply();
  ledger_.on_opened(run(0x1000, {10}), 10);
  allocate(kClass64, 10'000);
  uint64_t address = 0x100000;
  std::vector<model::TrackedObject> dead;
  double most = 0;
  double least = 1e9;
  for (int cycle = 0; cycle < 400; ++cycle) {
    allocate(kClass64, 10'000);
    std::vector<model::TrackedObject> next;
    if (cycle % 10 == 3) {
      const auto opened = run(address += 64, {11});
      ledger_.on_opened(opened, 10);
      next.push_back(tracked(opened));
    }
    ledger_.on_cycle({1, now_ += 10 * kMillisecond, false});
    sweepgen_ += 2;
    counters_.small[kClass64].frees = counters_.small[kClass64].allocs - 20'000;
    apply(std::exchange(dead, std::move(next)));
    const auto values = profile_by_end();
    if (cycle < 100) continue;
    most = std::max(most, static_cast<double>(values.at(11).inuse_objects));
    least = std::min(least, static_cast<double>(values.at(11).inuse_objects));
  }
  EXPECT_NEAR(most, 2000, 700);
  EXPECT_NEAR(least, 2000, 700);
}

// A stack that fills a ring from the first moment on, of which samples are taken for a second and then in slices of 100 ms:
// from one slice to the next it holds what it held, also before the first of them, and although all its samples are dead.
class RingInSlices : public SpanLedgerTest, public testing::WithParamInterface<uint64_t> {
 protected:
  static constexpr uint64_t kObjectsPerMs = 2000;
  static constexpr uint64_t kTurnMs = 250;
  static constexpr uint64_t kRing = kObjectsPerMs * kTurnMs;

  void record(bool on) {
    ledger_.set_recording(on, now_);
    recording_ = on;
    apply();
  }
  void allocate_for_a_millisecond(double times) {
    allocate(kClass64, kObjectsPerMs);
    for (uint64_t i = 0; recording_ && i < kObjectsPerMs * 64; i += kMean) {
      auto opened = run(address_ += 8192, {10});
      opened.mean_distance = 1;  // each run is a sample of itself
      opened.planned_objects = static_cast<uint32_t>(kMean / 64);
      ledger_.on_opened(opened, times);
      samples_.emplace_back(tracked(opened), ms_);
    }
  }
  void collect_ring() {
    ledger_.on_cycle({1, ++now_, false});
    sweepgen_ += 2;
    auto& counters = counters_.small[kClass64];
    counters.frees = counters.allocs - std::min(counters.allocs, kRing);
    std::vector<model::TrackedObject> dead;
    for (; !samples_.empty() && samples_.front().second + kTurnMs < ms_; samples_.pop_front())
      dead.push_back(samples_.front().first);
    apply(std::move(dead));
  }

  std::deque<std::pair<model::TrackedObject, uint64_t>> samples_;  // with the time of birth
  uint64_t address_ = 0x10000;
  uint64_t ms_ = 0;
  bool recording_ = true;
};

TEST_P(RingInSlices, HoldsWhatItHeld) {
  std::mt19937_64 random(GetParam());
  apply();
  uint64_t covered = 1000;
  uint64_t slice = 0;
  double times = 1;
  const uint64_t start = now_;
  for (ms_ = 1; ms_ <= 20'000; ++ms_) {
    now_ = start + ms_ * kMillisecond;
    if (recording_ && ms_ >= 1000 && (slice == 0 || ms_ == slice + 100)) {
      record(false);
      covered = ms_;
      slice = ms_ + 1500 + random() % 3000;
    } else if (ms_ == slice) {
      times = static_cast<double>(slice + 100 - covered) / 100;
      record(true);
    }
    allocate_for_a_millisecond(times);
    if (ms_ % 60 == 0) collect_ring();
    if (ms_ % 500 == 0 && ms_ > kTurnMs) {
      EXPECT_GE(profile()[10].inuse_objects, kRing * 8 / 10) << ms_;
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Seeds, RingInSlices, testing::Range<uint64_t>(1, 6));

// Random runs of three stacks, sampled as the probes do: each stack gets its share, the sum is exact, and differences
// of two moments are too, however long ago the first samples were.
TEST_F(SpanSampling, UnbiasedOverManyRuns) {
  std::mt19937_64 random(7);
  std::exponential_distribution<double> exponential(1.0);
  std::map<uint64_t, uint64_t> truth;
  apply();
  double countdown = exponential(random);
  std::map<uint64_t, model::HeapValues> middle;
  std::map<uint64_t, uint64_t> truth_of_middle;
  constexpr int kRuns = 200'000;
  for (int i = 0; i < kRuns; ++i) {
    const uint64_t pick = random() % 10;
    const uint64_t site = pick < 6 ? 10 : pick < 9 ? 11 : 12;
    const uint32_t planned = 1 + static_cast<uint32_t>(random() % 128);
    const auto used = random() % 3 == 0 ? 1 + static_cast<uint32_t>(random() % planned) : planned;
    truth[site] += used;
    allocate(kClass64, used);
    countdown -= static_cast<double>(planned) * 64 / kMean;
    if (countdown < 0) {
      countdown = exponential(random);
      const auto opened = run(0x1000 + 64 * static_cast<uint64_t>(i), {site}, kSpan64, 64, planned);
      ledger_.on_opened(opened);
      if (used < planned) ledger_.on_cut({1, now_, opened.address, opened.time_ns, used});
    }
    if (i % 5000 == 4999) apply();
    if (i == kRuns / 2 + 4999) {
      middle = profile();
      truth_of_middle = truth;
    }
  }
  apply();
  auto values = profile();
  const uint64_t total = truth[10] + truth[11] + truth[12];
  int64_t sum = 0;
  for (auto& [site, value] : values) sum += value.alloc_objects;
  EXPECT_NEAR(static_cast<double>(sum), static_cast<double>(total), 10);
  // About 10,000 of the runs are sampled: a tenth of them makes 3 % of one standard deviation; five of these.
  for (const uint64_t site : {10, 11, 12}) {
    const auto expected = static_cast<double>(truth[site]);
    EXPECT_NEAR(static_cast<double>(values[site].alloc_objects) / expected, 1, 0.16) << site;
    const auto grown = static_cast<double>(truth[site] - truth_of_middle[site]);
    EXPECT_NEAR(static_cast<double>(values[site].alloc_objects - middle[site].alloc_objects) / grown, 1, 0.25)
        << site;
  }
  EXPECT_EQ(ledger_.shared_classes(), std::vector<uint32_t>{kSpan64});
  RawSnapshot snapshot;
  ledger_.fill(snapshot);
  for (const RawSample& sample : snapshot.samples)
    EXPECT_EQ(sample.shares_class, !sample.stack->empty()) << sample.note;
}

// A P on which one stack fills run after run, and another, in the other span class of the same size, allocates so slowly
// that collections cut all its runs. Probes see what opens in slices of 100 ms; cuts they hear of at any time, or only as
// long as a slice lasts.
class Slices : public SpanLedgerTest {
 protected:
  static constexpr uint64_t kFast = 10;
  static constexpr uint64_t kSlow = 11;
  static constexpr uint64_t kSeconds = 2000;

  // What the books say of the slow stack, as a multiple of the truth.
  double run_program(bool hears_all_cuts) {
    reset();
    random_.seed(3);
    apply();
    uint64_t next_cycle = 300;
    uint64_t slow_objects = 0;
    uint64_t covered = 0;  // up to here slices stand for all
    uint64_t slice_begin = 500;
    for (uint64_t ms = 0; ms < kSeconds * 1000; ++ms) {
      if (in_slice_ && ms == slice_begin + kSlice) {
        in_slice_ = false;
        covered = ms;
        slice_begin = ms + 450 + random_() % 900;
      } else if (ms == slice_begin) {
        in_slice_ = true;
        times_ = static_cast<double>(ms + kSlice - covered) / kSlice;
      }
      if (ms == next_cycle) {
        for (Open* open : {&fast_, &slow_}) cut(*open, hears_all_cuts || in_slice_);
        next_cycle = ms + 200 + random_() % 200;
      }
      use(fast_, kFast, kSpan64, 100);
      if (ms % 20 == 0) {
        use(slow_, kSlow, kSpan64 | 1, 1);
        ++slow_objects;
      }
      if (ms % 100'000 == 99'999) apply();
    }
    apply();
    const auto values = profile();
    int64_t all = 0;
    for (const auto& [site, value] : values) all += value.alloc_objects;
    EXPECT_NEAR(static_cast<double>(all), static_cast<double>(counters_.small[kClass64].allocs), 2);
    return static_cast<double>(values.at(kSlow).alloc_objects) / static_cast<double>(slow_objects);
  }

 private:
  static constexpr uint64_t kSlice = 100;  // ms
  // The run that a span class takes its objects from.
  struct Open {
    uint32_t used = kPlanned;
    std::optional<model::SpanRunOpened> sampled;
  };

  void use(Open& open, uint64_t site, uint32_t span_class, uint32_t objects) {
    allocate(kClass64, objects);
    while (objects > 0) {
      if (open.used == kPlanned) {
        open = {.used = 0, .sampled = std::nullopt};
        if (in_slice_) sample(open, site, span_class);
      }
      const uint32_t taken = std::min(objects, kPlanned - open.used);
      open.used += taken;
      objects -= taken;
    }
  }
  void sample(Open& open, uint64_t site, uint32_t span_class) {
    auto opened = run(next_address_ += 8192, {site}, span_class);
    opened.mean_distance = kMeanHere;
    const double probability = 1 - std::exp(-static_cast<double>(kPlanned) * 64 / kMeanHere);
    if (std::uniform_real_distribution<double>()(random_) >= probability) return;
    ledger_.on_opened(opened, times_);
    open.sampled = opened;
  }
  void cut(Open& open, bool is_heard) {
    if (open.sampled && open.used < kPlanned && is_heard)
      ledger_.on_cut({1, now_, open.sampled->address, open.sampled->time_ns, open.used});
    open = {};
  }

  static constexpr uint64_t kMeanHere = 8192;
  std::mt19937_64 random_;
  Open fast_;
  Open slow_;
  bool in_slice_ = false;
  double times_ = 1;
  uint64_t next_address_ = 0;
};

// What is open at the end of a slice is cut later. Were that not heard, the slow stack's runs would count as if they were
// filled: 128 objects instead of some 15.
TEST_F(Slices, RunsThatAreCutAfterTheirSliceCountWhatTheyUsed) {
  // Some 400 of its runs are sampled, which makes 6 % of one standard deviation; five of these.
  EXPECT_NEAR(run_program(true), 1, 0.3);
  EXPECT_GT(run_program(false), 3);
}

}  // namespace
}  // namespace goheapd::profile
