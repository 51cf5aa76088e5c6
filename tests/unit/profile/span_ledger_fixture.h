// What the tests of source spans' books share.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "daemon/profile/span_ledger.h"

namespace goheapd::profile {

inline constexpr uint64_t kMean = 64 * 1024;
inline constexpr uint32_t kClass64 = 6;  // size class of 64 bytes
inline constexpr uint32_t kSpan64 = kClass64 << 1;
inline constexpr uint32_t kPlanned = 128;
inline constexpr uint64_t kMillisecond = 1'000'000;

// A program whose allocator we play: what it does is known, what the ledger says is compared.
class SpanLedgerTest : public testing::Test {
 protected:
  model::SpanRunOpened run(uint64_t address, std::vector<uint64_t> stack, uint32_t span_class = kSpan64,
                           uint64_t object_bytes = 64, uint32_t planned = kPlanned) {
    model::SpanRunOpened opened;
    opened.time_ns = now_ += 1000;
    opened.address = address;
    opened.span_class = span_class;
    opened.object_bytes = object_bytes;
    opened.planned_objects = planned;
    opened.mean_distance = kMean;
    opened.sweepgen = sweepgen_;
    opened.stack = std::move(stack);
    return opened;
  }
  void allocate(uint32_t size_class, uint64_t objects) { counters_.small[size_class].allocs += objects; }
  void free(uint32_t size_class, uint64_t objects) { counters_.small[size_class].frees += objects; }
  // A garbage collection ends and all is swept.
  void collect() {
    // Long after the reading before, so that nothing counts as allocated between this and the next reading.
    ledger_.on_cycle({1, now_ += 3'600'000 * kMillisecond, false});
    sweepgen_ += 2;
  }
  SpanReading reading(std::vector<model::TrackedObject> dead = {}) {
    SpanReading reading;
    reading.counters = counters_;
    reading.counters.begin_ns = now_ += 1;
    reading.counters.end_ns = now_;
    reading.liveness.sweepgen = sweepgen_;
    reading.liveness.dead = std::move(dead);
    reading.swept = true;
    return reading;
  }
  void apply(std::vector<model::TrackedObject> dead = {}) { ledger_.apply(reading(std::move(dead))); }
  static model::TrackedObject tracked(const model::SpanRunOpened& run) {
    return {run.address, run.time_ns, run.sweepgen};
  }
  // By innermost address; 0 = before goheapd attached, 1 = not sampled.
  std::map<uint64_t, model::HeapValues> profile() const {
    RawSnapshot snapshot;
    ledger_.fill(snapshot);
    EXPECT_TRUE(snapshot.is_scaled);
    std::map<uint64_t, model::HeapValues> values;
    for (const RawSample& sample : snapshot.samples) {
      const uint64_t site = sample.stack->empty()
                                ? (sample.note.find("attached") != std::string_view::npos ? 0 : 1)
                                : sample.stack->front();
      add(values[site], sample.published);
    }
    return values;
  }

  // The same by outermost address.
  std::map<uint64_t, model::HeapValues> profile_by_end() const {
    RawSnapshot snapshot;
    ledger_.fill(snapshot);
    std::map<uint64_t, model::HeapValues> values;
    for (const RawSample& sample : snapshot.samples)
      if (!sample.stack->empty()) add(values[sample.stack->back()], sample.published);
    return values;
  }
  static void add(model::HeapValues& sum, const model::HeapValues& values) {
    sum.alloc_objects += values.alloc_objects;
    sum.alloc_bytes += values.alloc_bytes;
    sum.inuse_objects += values.inuse_objects;
    sum.inuse_bytes += values.inuse_bytes;
  }
  // Objects of 64 bytes that a window has counted, by the only frame of their stacks.
  ExactWindow window(const std::map<uint64_t, uint64_t>& objects) {
    ExactWindow window;
    window.time_ns = now_ += kMillisecond;
    for (const auto& [frame, number] : objects) {
      window.stacks.push_back({.pid = 1, .stack_hash = frame, .truncated = false, .stack = {frame}});
      model::ExactCount& count = window.counts.emplace_back();
      count.stack_hash = frame;
      count.size_class = kClass64;
      count.objects = number;
    }
    return window;
  }
  void reset() {
    ledger_ = {};
    counters_ = {};
  }

  SpanLedger ledger_;
  model::HeapStatsReading counters_;
  uint32_t sweepgen_ = 20;
  uint64_t now_ = 1'000'000;
};

}  // namespace goheapd::profile
