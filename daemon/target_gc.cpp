#include "daemon/target_gc.h"

#include <algorithm>
#include <utility>

#include "daemon/base/clock.h"
#include "daemon/runtime/gc_cycle.h"
#include "daemon/runtime/stop_reasons.h"

namespace goheapd {

bool TargetGc::on(const model::GcCycleMemory& memory, const gobin::RuntimeLayout& layout) {
  auto cycle = runtime::decode_gc_cycle(layout, memory);
  if (!cycle)
    return false;  // the flush in the middle of a stop-the-world sweep; a cycle that is lost leaves a gap
  cycle->leak_check = leak_check_;
  if (!history_.add(*cycle)) return false;
  leak_check_ = false;
  cycles_ = std::max(cycles_, cycle->number);
  if (cycle->number <= pauses_counted_) return true;
  pauses_counted_ = cycle->number;
  const int64_t first = cycle->mark_ns - cycle->start_ns;
  const int64_t last = cycle->end_ns - cycle->mark_end_ns;
  count_pause(first);
  count_pause(last);
  // An attempt to end marking that came too early stopped the program once more.
  constexpr int64_t kClockSlack = 10'000;
  if (const int64_t more = cycle->pause_ns - first - last; more > kClockSlack) count_pause(more);
  return true;
}

void TargetGc::on(const model::GcProfileFlush& flush) {
  if (flush.post_sweep) post_swept_ = cycles_;
}

void TargetGc::on(const model::WorldStop& stop, const gobin::RuntimeLayout& layout) {
  const auto reason = runtime::stop_reason(layout.minor, stop);
  stops_.add({stop.began_ns, stop.time_ns, reason.text}, reason.for_gc);
}

model::GcLog TargetGc::log() const {
  const auto& cycles = history_.cycles();
  return {{cycles.begin(), cycles.end()}, {stops_.others().begin(), stops_.others().end()}, stops_.totals()};
}

void TargetGc::apply(const model::GcReading& reading) {
  const bool has_earlier = std::exchange(has_reading_, true);
  if (reading.cycles == 0) return;  // there was none yet, or it could not be read
  cycles_ = std::max(cycles_, reading.cycles);
  ends_ = reading.last_ends;
  // The pauses are those of the cycles up to the last; a cycle's stops together are one pause here.
  const auto known = static_cast<uint32_t>(reading.new_pauses_ns.size());
  const bool events_tell = events_come_ && !history_.cycles().empty();
  // What happened before we came is nobody's loss, and of cycles that events do not tell they count the missing.
  const uint32_t untold = reading.cycles - known;
  if (has_earlier && !events_tell && untold > pauses_counted_) lost_pauses_ += untold - pauses_counted_;
  for (uint32_t i = 0; i < known; ++i) {
    const uint32_t cycle = reading.cycles - known + i + 1;
    if (cycle <= pauses_counted_) continue;
    // Where events come they tell more: that of a cycle that is newer than the last one seen is on its way.
    if (events_tell && cycle > history_.cycles().back().number) break;
    pauses_counted_ = cycle;
    count_pause(static_cast<int64_t>(reading.new_pauses_ns[i]));
  }
}

void TargetGc::count_pause(int64_t nanoseconds) {
  const double seconds = static_cast<double>(std::max<int64_t>(0, nanoseconds)) * 1e-9;
  const auto& bounds = model::kGcPauseBoundsSeconds;
  const auto bound = std::lower_bound(bounds.begin(), bounds.end(), seconds);
  for (auto i = static_cast<size_t>(bound - bounds.begin()); i < pause_buckets_.size(); ++i) {
    ++pause_buckets_[i];
  }
  pause_sum_seconds_ += seconds;
}

void TargetGc::fill(model::TargetStatus& status) const {
  status.gc_cycles = cycles_;
  status.gc_pause_buckets = pause_buckets_;
  status.gc_pause_sum_seconds = pause_sum_seconds_;
  status.gc_totals = history_.totals();
  status.stops = stops_.totals();
  if (expected_minor_) {
    for (const auto& [reason, for_gc] : runtime::stop_reasons(*expected_minor_)) {
      if (std::none_of(status.stops.begin(), status.stops.end(),
                       [text = reason](const auto& total) { return total.reason == text; }))
        status.stops.push_back({reason, for_gc, 0, 0});
    }
  }
  if (!history_.cycles().empty()) status.last_gc = history_.cycles().back();
}

uint32_t TargetGc::published_cycle(uint32_t profile_cycle) const {
  if (profile_cycle == 0 || profile_cycle == post_swept_) return profile_cycle;
  return profile_cycle - 1;
}

std::string TargetGc::inuse_comment(uint32_t cycle) const {
  if (cycle == 0) return "inuse is all that was allocated: no GC cycle has been published yet";
  std::string comment = "inuse as of GC cycle " + std::to_string(cycle);
  int64_t end_wall_ns = 0;
  for (const auto& [number, wall_ns] : ends_) {
    if (number == cycle) end_wall_ns = wall_ns;
  }
  if (const auto seen = history_.find(cycle)) {
    end_wall_ns = wall_time_of(static_cast<uint64_t>(seen->end_ns));
  }
  if (end_wall_ns != 0) comment += ", which ended at " + rfc3339(end_wall_ns);
  return comment;
}

}  // namespace goheapd
