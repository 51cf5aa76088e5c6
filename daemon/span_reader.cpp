#include "daemon/span_reader.h"

#include <algorithm>
#include <utility>

#include "daemon/runtime/heap_census.h"

namespace goheapd {
namespace {

// Nobody sweeps, and nothing is left to sweep.
// https://github.com/golang/go/blob/go1.24.4/src/runtime/mgcsweep.go#L100 (const sweepDrainedMask)
constexpr uint32_t kSweepDrained = 1U << 31;
// Of what was there when we came so many are followed; it is as many as samples that live in a small program.
constexpr size_t kMostOldObjects = 1024;
constexpr int kCensusTries = 3;

}  // namespace

SpanReader::SpanReader(runtime::RuntimeView view, uint64_t sweep_state_address)
    : view_(std::move(view)), sweep_state_address_(sweep_state_address), liveness_(view_), counters_(view_) {}

Expected<std::shared_ptr<SpanReader>> SpanReader::open(const process::ProcFs& proc,
                                                       const gobin::GoBinary& binary, pid_t pid,
                                                       uint64_t load_bias) {
  auto view = runtime::RuntimeView::open(proc, binary, pid);
  if (!view) return Unexpected(view.error());
  const auto sweep = binary.global("runtime.sweep");
  if (!sweep) return Unexpected(sweep.error());
  if (view->addresses().gc_controller == 0) return fail("the place of runtime.gcController is not known");
  return std::shared_ptr<SpanReader>(
      new SpanReader(std::move(*view), *sweep + load_bias + binary.layout().sweepdata.active.offset));
}

bool SpanReader::has_swept() const {
  const auto state = view_.memory().read<uint32_t>(sweep_state_address_);
  return state && *state == kSweepDrained;
}

// A collection that ends meanwhile spoils it.
std::optional<model::HeapCensus> SpanReader::count_old() const {
  for (int i = 0; i < kCensusTries; ++i)
    if (auto census = runtime::take_census(view_, kMostOldObjects)) return std::move(*census);
  return std::nullopt;
}

Expected<profile::SpanReading> SpanReader::read(std::vector<model::TrackedObject> objects) {
  std::sort(objects.begin(), objects.end(),
            [](const auto& a, const auto& b) { return a.address < b.address; });
  std::lock_guard lock(mutex_);
  profile::SpanReading reading;
  auto liveness = liveness_.check(objects);
  if (!liveness) return Unexpected(liveness.error());
  reading.liveness = std::move(*liveness);
  const bool had_swept = has_swept();
  auto counters = counters_.read();
  if (!counters) return Unexpected(counters.error());
  reading.counters = *counters;
  // Later, what was there when we came could not be told from what has come.
  if (!std::exchange(counted_old_, true)) reading.census = count_old();
  // Of the cycle that was judged: no other may have begun to be swept meanwhile.
  const auto sweepgen = liveness_.sweepgen();
  const bool same_cycle = sweepgen && *sweepgen == reading.liveness.sweepgen;
  reading.swept = had_swept && same_cycle;
  // Before the first cycle it has a value that makes the first goal.
  if (const auto marked = view_.memory().read<uint64_t>(view_.addresses().gc_controller +
                                                        view_.layout().gc_controller.heap_marked.offset);
      marked && same_cycle && *sweepgen != 0)
    reading.heap_marked = *marked;
  return reading;
}

}  // namespace goheapd
