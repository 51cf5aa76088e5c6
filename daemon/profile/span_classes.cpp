#include "daemon/profile/span_classes.h"

#include <algorithm>

#include "daemon/gobin/runtime_layout.h"

namespace goheapd::profile {
namespace {

static_assert(kSpanSizeClasses == gobin::kSizeClasses);

ClassAmount small_amount(size_t size_class, uint64_t objects) {
  const auto count = static_cast<double>(objects);
  return {count, count * gobin::kSizeClassBytes[size_class]};
}

// Counters of the runtime never fall; a reading that is not consistent may lack what an earlier one had.
void raise(ClassAmount& to, const ClassAmount& value) {
  to.objects = std::max(to.objects, value.objects);
  to.bytes = std::max(to.bytes, value.bytes);
}

}  // namespace

uint64_t class_bytes(size_t size_class) { return size_class == 0 ? 0 : gobin::kSizeClassBytes[size_class]; }

ClassAmount operator-(const ClassAmount& a, const ClassAmount& b) {
  return {std::max(0.0, a.objects - b.objects), std::max(0.0, a.bytes - b.bytes)};
}

void SpanClasses::apply(const model::HeapStatsReading& reading, uint32_t sweepgen, bool swept) {
  std::array<ClassAmount, kSpanSizeClasses> allocs;
  std::array<ClassAmount, kSpanSizeClasses> frees;
  allocs[0] = {static_cast<double>(reading.large.allocs), static_cast<double>(reading.large_alloc_bytes)};
  frees[0] = {static_cast<double>(reading.large.frees), static_cast<double>(reading.large_free_bytes)};
  for (size_t i = 1; i < kSpanSizeClasses; ++i) {
    allocs[i] = small_amount(i, reading.small[i].allocs);
    frees[i] = small_amount(i, reading.small[i].frees);
  }
  const bool is_first = !has_reading();
  if (is_first || sweepgen != sweepgen_) begin_cycle(allocs, reading);
  sweepgen_ = sweepgen;
  if (is_first) first_sweepgen_ = sweepgen;
  begin_ns_ = reading.begin_ns;
  for (size_t i = 0; i < kSpanSizeClasses; ++i) {
    Class& entry = classes_[i];
    raise(entry.allocs, allocs[i]);
    raise(entry.frees, frees[i]);
    if (is_first) {
      entry.before = allocs[i];
      entry.held_before = entry.most_from_before = allocs[i] - frees[i];
    }
  }
  if (!swept && sweepgen != 0) return;
  live_sweepgen_ = sweepgen;
  if (sweepgen == 0) {
    for (Class& entry : classes_) entry.live = entry.allocs - entry.frees;
    return;
  }
  if (marked()) fit_to_marked();
  for (Class& entry : classes_) entry.live = at_cycle(entry) - entry.frees;
  if (live_is_estimated()) {
    if (marked()) scale_live_to_marked();
    return;
  }
  for (Class& entry : classes_) {
    entry.most_from_before.objects = std::min(entry.most_from_before.objects, entry.live.objects);
    entry.most_from_before.bytes = std::min(entry.most_from_before.bytes, entry.live.bytes);
  }
}

void SpanClasses::begin_cycle(const std::array<ClassAmount, kSpanSizeClasses>& allocs,
                              const model::HeapStatsReading& reading) {
  // The counters are read some time after the cycle's end. Between the reading before and this one the program
  // allocated evenly, as far as we know by now.
  since_cycle_ = 0;
  if (cycle_ns_ > begin_ns_ && cycle_ns_ < reading.begin_ns && has_reading()) {
    since_cycle_ =
        static_cast<double>(reading.begin_ns - cycle_ns_) / static_cast<double>(reading.begin_ns - begin_ns_);
  }
  for (size_t i = 0; i < kSpanSizeClasses; ++i) {
    Class& entry = classes_[i];
    entry.after_cycle = allocs[i];
    entry.grown = allocs[i] - entry.allocs;
  }
}

// A program that allocates in bursts has not allocated evenly. What all classes together have left alive tells which part
// it was:   sum of (after_cycle - grown * part - frees) = marked.
void SpanClasses::fit_to_marked() {
  double grown = 0;
  double most = 0;  // if nothing was allocated after the cycle's end
  for (const Class& entry : classes_) {
    grown += entry.grown.bytes;
    most += (entry.after_cycle - entry.frees).bytes;
  }
  if (grown > 0) since_cycle_ = std::clamp((most - marked_bytes_) / grown, 0.0, 1.0);
}

// Where classes were allocated at other shares lately than before, some have come out below zero.
void SpanClasses::scale_live_to_marked() {
  double sum = 0;
  for (const Class& entry : classes_) sum += entry.live.bytes;
  if (sum <= 0) return;
  for (Class& entry : classes_) {
    const double scaled = entry.live.bytes * marked_bytes_ / sum;
    const double bytes = std::min(scaled, entry.most_from_before.bytes);
    entry.live = entry.live * (entry.live.bytes > 0 ? bytes / entry.live.bytes : 0);
  }
}

ClassAmount SpanClasses::allocated(size_t size_class) const {
  return classes_[size_class].allocs - classes_[size_class].before;
}

ClassAmount SpanClasses::held(size_t size_class) const {
  return classes_[size_class].allocs - classes_[size_class].frees;
}

}  // namespace goheapd::profile
